package snapshot

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/weirstream/weir/platform/storage/blob"
)

// Manifest is a checkpoint: which bytes, in order, are the state of a pipeline.
// It is a value; BuildManifest makes the next one from the last.
type Manifest struct {
	Meta      Meta
	Operators []OperatorState // by name
}

// Meta says what a manifest is of.
type Meta struct {
	Pipeline    string // uid
	Checkpoint  uint64
	Attempt     uint64
	Revision    uint64 // of the pipeline, that wrote it
	Kind        Kind
	TakenMicros int64 // UTC
}

// Kind tells checkpoints and savepoints apart.
type Kind uint8

// The kinds of manifests.
const (
	Checkpoint Kind = iota + 1
	Savepoint
)

// OperatorState is an operator's part in a manifest.
type OperatorState struct {
	Operator string
	// Segments are oldest first. Each is alive in its own range of key groups,
	// so a change of parallelism leaves them as they are.
	Segments []SegmentRef
	Tasks    []TaskState // by number
}

// TaskState is what a task last reported, keyed state aside.
type TaskState struct {
	Task    int
	Attempt uint64
	Groups  Groups
	Timers  NextTimers
	Items   []ItemRef
}

// Digest is a manifest's SHA-256; it stands in the catalog.
type Digest [sha256.Size]byte

func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// A manifest, version 1; the strings and numbers are as the encoder writes them.
//
//	| "WMAN" 4 | version 2 | objects | meta | operators | SHA-256 of everything before 32 |
const (
	manifestMagic   = "WMAN"
	manifestVersion = 1
)

// Encode gives the bytes and their digest. Equal manifests give equal bytes.
func (m *Manifest) Encode() ([]byte, Digest) {
	var t objectTable
	var body encoder
	body.str(m.Meta.Pipeline)
	body.uvarint(m.Meta.Checkpoint)
	body.uvarint(m.Meta.Attempt)
	body.uvarint(m.Meta.Revision)
	body.u8(uint8(m.Meta.Kind))
	body.varint(m.Meta.TakenMicros)
	body.uvarint(uint64(len(m.Operators)))
	for _, o := range m.Operators {
		body.str(o.Operator)
		body.segments(&t, o.Segments)
		body.uvarint(uint64(len(o.Tasks)))
		for _, task := range o.Tasks {
			body.uvarint(uint64(task.Task))
			body.uvarint(task.Attempt)
			body.groups(task.Groups)
			body.timers(task.Timers)
			body.items(&t, task.Items)
		}
	}
	var e encoder
	e.b = append(e.b, manifestMagic...)
	e.u16(manifestVersion)
	t.encodeTo(&e)
	e.b = append(e.b, body.b...)
	digest := sha256.Sum256(e.b)
	return append(e.b, digest[:]...), digest
}

// DecodeManifest reads a manifest of any version.
func DecodeManifest(b []byte) (*Manifest, Digest, error) {
	m, digest, err := decodeManifest(b)
	if err != nil {
		return nil, digest, fmt.Errorf("read manifest: %w", err)
	}
	return m, digest, nil
}

func decodeManifest(b []byte) (*Manifest, Digest, error) {
	var digest Digest
	if len(b) < 6+len(digest) || string(b[:4]) != manifestMagic {
		return nil, digest, errors.New("it is no manifest")
	}
	body := b[:len(b)-len(digest)]
	digest = sha256.Sum256(body)
	if !bytes.Equal(digest[:], b[len(body):]) {
		return nil, digest, errors.New("its digest is wrong")
	}
	d := decoder{b: body[4:], size: len(body)}
	if v := d.u16(); v == 0 || v > manifestVersion {
		return nil, digest, fmt.Errorf("it has version %d, known here is up to %d; upgrade this process", v, manifestVersion)
	}
	objects := decodeObjects(&d)
	m := &Manifest{Meta: Meta{Pipeline: d.str(), Checkpoint: d.uvarint(), Attempt: d.uvarint(),
		Revision: d.uvarint(), Kind: Kind(d.u8()), TakenMicros: d.varint()}}
	m.Operators = make([]OperatorState, d.count(3))
	for i := range m.Operators {
		o := OperatorState{Operator: d.str(), Segments: d.segments(objects)}
		o.Tasks = make([]TaskState, d.count(23))
		for j := range o.Tasks {
			o.Tasks[j] = TaskState{Task: d.limited("a task's number", maxTask), Attempt: d.uvarint(),
				Groups: d.groups(), Timers: d.timers(), Items: d.items(objects)}
		}
		m.Operators[i] = o
	}
	return m, digest, d.end()
}

// Name is where a manifest is kept. It follows from the content, so writing it
// again after a time-out is writing the same object.
func (m *Manifest) Name(digest Digest) string {
	return checkpointPrefix(m.Meta.Pipeline, m.Meta.Checkpoint, m.Meta.Attempt) + "manifest-" + digest.String()[:32]
}

// WriteManifest puts a manifest into the store, and notes in it where its inline
// bytes now stand, so that the next one can refer to them.
func WriteManifest(ctx context.Context, store blob.Store, m *Manifest) (name string, digest Digest, err error) {
	b, digest := m.Encode()
	name = m.Name(digest)
	_, err = blob.PutBytes(ctx, store, name, b)
	if errors.Is(err, blob.ErrExists) {
		if _, err = ReadManifest(ctx, store, name, digest); err == nil {
			return name, digest, m.noteHeld(name, b) // an earlier try came through
		}
		// Or it left half an object, in a store that is not as atomic as it says.
		// Readers make the name from the digest, so the whole one has to stand there.
		var damage *DamageError
		if errors.As(err, &damage) {
			if err = store.Delete(ctx, name); err == nil {
				_, err = blob.PutBytes(ctx, store, name, b)
			}
		}
	}
	if err != nil {
		return "", digest, fmt.Errorf("write manifest of checkpoint %d: %w", m.Meta.Checkpoint, err)
	}
	return name, digest, m.noteHeld(name, b)
}

func (m *Manifest) noteHeld(name string, encoded []byte) error {
	again, _, err := decodeManifest(encoded)
	if err != nil {
		return fmt.Errorf("read manifest %s just written: %w", name, err)
	}
	again.extents(func(_ string, x *Extent) {
		if x.Inline != nil {
			x.Held = name
		}
	})
	*m = *again
	return nil
}

// ReadManifest reads a manifest and holds it against the catalog's digest.
func ReadManifest(ctx context.Context, store blob.Store, name string, want Digest) (*Manifest, error) {
	b, err := blob.ReadRange(ctx, store, name, 0, -1)
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	m := &Manifest{}
	_, digest, err := decodeManifest(b)
	if err == nil && digest != want {
		err = fmt.Errorf("its digest is %s, the catalog's is %s", digest, want)
	}
	if err == nil {
		err = m.noteHeld(name, b)
	}
	if err != nil {
		return nil, &DamageError{Object: name, Block: -1, Reason: err.Error()}
	}
	return m, nil
}

// Operator finds an operator; nil if the checkpoint has none of it.
func (m *Manifest) Operator(name string) *OperatorState {
	i, found := slices.BinarySearchFunc(m.Operators, name, func(o OperatorState, name string) int {
		return compareStrings(o.Operator, name)
	})
	if !found {
		return nil
	}
	return &m.Operators[i]
}

// Items are an operator's items of one kind, over all its tasks, in order of
// task. Who restores deals them out among the new tasks.
func (m *Manifest) Items(operator, kind string) []ItemRef {
	o := m.Operator(operator)
	if o == nil {
		return nil
	}
	var out []ItemRef
	for _, t := range o.Tasks {
		for _, item := range t.Items {
			if item.Kind == kind {
				out = append(out, item)
			}
		}
	}
	return out
}

// NextTimers are the earliest timers of the whole pipeline.
func (m *Manifest) NextTimers() NextTimers {
	next := NextTimers{NoTimer, NoTimer}
	for _, o := range m.Operators {
		for _, t := range o.Tasks {
			next.Event = min(next.Event, t.Timers.Event)
			next.Processing = min(next.Processing, t.Timers.Processing)
		}
	}
	return next
}

// Without is the manifest less some operators: those that a new revision drops.
func (m *Manifest) Without(operators ...string) *Manifest {
	kept := *m
	kept.Operators = slices.DeleteFunc(slices.Clone(m.Operators), func(o OperatorState) bool {
		return slices.Contains(operators, o.Operator)
	})
	return &kept
}

// Objects are the names of the objects that a manifest needs, sorted; its own
// is not among them.
func (m *Manifest) Objects() []string {
	var names []string
	m.extents(func(_ string, x *Extent) {
		if x.Inline == nil {
			name, _ := x.place()
			names = append(names, name)
		}
	})
	slices.Sort(names)
	return slices.Compact(names)
}

func (m *Manifest) extents(visit func(operator string, x *Extent)) {
	for _, o := range m.Operators {
		o.extents(visit)
	}
}

func (o *OperatorState) extents(visit func(operator string, x *Extent)) {
	for i := range o.Segments {
		visit(o.Operator, &o.Segments[i].Extent)
	}
	for _, t := range o.Tasks {
		for _, item := range t.Items {
			for i := range item.Chunks {
				visit(o.Operator, &item.Chunks[i].Extent)
			}
		}
	}
}

// clone shares nothing with o that extents can reach.
func (o *OperatorState) clone() *OperatorState {
	c := &OperatorState{Operator: o.Operator, Segments: slices.Clone(o.Segments), Tasks: slices.Clone(o.Tasks)}
	for i := range c.Tasks {
		items := slices.Clone(c.Tasks[i].Items)
		for j := range items {
			items[j].Chunks = slices.Clone(items[j].Chunks)
		}
		c.Tasks[i].Items = items
	}
	return c
}

// StateBytes is about how much of the store a range of an operator's state takes.
func (m *Manifest) StateBytes(operator string, g Groups) int64 {
	o := m.Operator(operator)
	if o == nil {
		return 0
	}
	total := int64(0)
	for _, s := range o.Segments {
		if common, some := s.Groups.intersect(g); some {
			total += s.Length * int64(common.Last-common.First+1) / int64(s.Groups.Last-s.Groups.First+1)
		}
	}
	return total
}

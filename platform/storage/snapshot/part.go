package snapshot

import (
	"errors"
	"fmt"
	"slices"
)

// Part is what a worker reports of a checkpoint: where the bytes lie that its
// tasks hold, small ones with it. It travels in the acknowledgement.
type Part struct {
	ID          PartID
	Operators   []PartOperator
	Merged      []Merged
	ObjectBytes int64 // of the object; 0: there is none
}

// PartOperator is one operator of one task.
type PartOperator struct {
	Operator string
	Task     int
	Groups   Groups
	Timers   NextTimers
	Segments []SegmentRef // at most one from WritePart; none if nothing changed
	Items    []ItemRef
}

// Merged is a merge that is done: Output stands for Inputs within Groups.
type Merged struct {
	Merge
	Output []SegmentRef // one, or none if everything was deleted
}

// A part, version 1; the strings and numbers are as the encoder writes them.
//
//	| "WPRT" 4 | version 2 | objects | id | operators | merges | object bytes | CRC32C of everything before 4 |
const (
	partMagic   = "WPRT"
	partVersion = 1
)

// Marshal encodes a part.
func (p *Part) Marshal() []byte {
	var t objectTable
	var body encoder
	body.str(p.ID.Pipeline)
	body.uvarint(p.ID.Checkpoint)
	body.uvarint(p.ID.Attempt)
	body.str(p.ID.Worker)
	body.uvarint(uint64(len(p.Operators)))
	for _, o := range p.Operators {
		body.str(o.Operator)
		body.uvarint(uint64(o.Task))
		body.groups(o.Groups)
		body.timers(o.Timers)
		body.segments(&t, o.Segments)
		body.items(&t, o.Items)
	}
	body.uvarint(uint64(len(p.Merged)))
	for _, m := range p.Merged {
		body.str(m.Operator)
		body.groups(m.Groups)
		body.segments(&t, m.Inputs)
		if m.Bottom {
			body.u8(1)
		} else {
			body.u8(0)
		}
		body.segments(&t, m.Output)
	}
	body.uvarint(uint64(p.ObjectBytes))

	var e encoder
	e.b = append(e.b, partMagic...)
	e.u16(partVersion)
	t.encodeTo(&e)
	e.b = append(e.b, body.b...)
	e.u32(checksum(e.b))
	return e.b
}

// UnmarshalPart decodes a part of any version.
func UnmarshalPart(b []byte) (*Part, error) {
	p, err := unmarshalPart(b)
	if err != nil {
		return nil, fmt.Errorf("read part of a checkpoint: %w", err)
	}
	return p, nil
}

func unmarshalPart(b []byte) (*Part, error) {
	if len(b) < 10 || string(b[:4]) != partMagic {
		return nil, errors.New("it is no part")
	}
	sum := decoder{b: b[len(b)-4:]}
	if sum.u32() != checksum(b[:len(b)-4]) {
		return nil, errors.New("its checksum is wrong")
	}
	d := decoder{b: b[4 : len(b)-4]}
	if v := d.u16(); v == 0 || v > partVersion {
		return nil, fmt.Errorf("it has version %d, known here is up to %d; upgrade this process", v, partVersion)
	}
	objects := decodeObjects(&d)
	p := &Part{ID: PartID{Pipeline: d.str(), Checkpoint: d.uvarint(), Attempt: d.uvarint(), Worker: d.str()}}
	p.Operators = make([]PartOperator, d.count(24))
	for i := range p.Operators {
		p.Operators[i] = PartOperator{Operator: d.str(), Task: d.limited("a task's number", maxTask),
			Groups: d.groups(), Timers: d.timers(), Segments: d.segments(objects), Items: d.items(objects)}
	}
	p.Merged = make([]Merged, d.count(8))
	for i := range p.Merged {
		p.Merged[i] = Merged{
			Merge:  Merge{Operator: d.str(), Groups: d.groups(), Inputs: d.segments(objects), Bottom: d.u8() == 1},
			Output: d.segments(objects),
		}
	}
	p.ObjectBytes = int64(d.uvarint())
	return p, d.end()
}

const maxTask = 1 << 20

// Objects are the names of objects that a part needs.
func (p *Part) Objects() []string {
	var names []string
	add := func(x Extent) {
		if x.Inline == nil {
			names = append(names, x.Object)
		}
	}
	for _, o := range p.Operators {
		for _, s := range o.Segments {
			add(s.Extent)
		}
		for _, item := range o.Items {
			for _, c := range item.Chunks {
				add(c.Extent)
			}
		}
	}
	for _, m := range p.Merged {
		for _, s := range m.Output {
			add(s.Extent)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "replay this one seed")
	seedsFlag = flag.Int("seeds", 30, "how many seeds to run")
)

// TestRandomCommandsHoldTheInvariants applies random commands, sensible and not,
// and compares with a small model of what may never happen.
func TestRandomCommandsHoldTheInvariants(t *testing.T) {
	first, last := uint64(1), uint64(*seedsFlag)
	if *seedFlag != 0 {
		first, last = *seedFlag, *seedFlag
	}
	for seed := first; seed <= last; seed++ {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { randomCommands(t, seed) })
	}
}

func randomCommands(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 7))
	s := New()
	m := newModel(t)
	var log [][]byte
	for at := int64(1); at <= 600; at++ {
		c := randomCommand(rng, s, at)
		entry, err := EncodeEntry(c)
		if err != nil {
			t.Fatalf("encode %T: %v", c, err)
		}
		before := mustImage(t, s)
		next, result, err := s.Apply(c)
		if after := mustImage(t, s); !bytes.Equal(before, after) {
			t.Fatalf("%s %+v changed the state that it was applied to", Name(c), c)
		}
		if err != nil && next != s {
			t.Fatalf("%s was refused and gave another state", Name(c))
		}
		if err != nil && !slices.ContainsFunc([]error{ErrNotFound, ErrExists, ErrConflict, ErrInUse, ErrInvalid, ErrStale, ErrUnpublished, ErrTooLarge, ErrLimit}, func(e error) bool { return errors.Is(err, e) }) {
			t.Fatalf("%s: %v wraps no sentinel", Name(c), err)
		}
		m.check(s, next, c, result, err)
		s = next
		log = append(log, entry)
		if at%50 == 0 {
			restored, err := DecodeImage(mustImage(t, s))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(mustImage(t, restored), mustImage(t, s)) {
				t.Fatal("an image does not survive its round trip")
			}
			s = restored // and everything goes on from it
		}
	}
	replayed := New()
	for _, entry := range log {
		commands, err := DecodeEntry(entry)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range commands {
			replayed, _, _ = replayed.Apply(c)
		}
	}
	if !bytes.Equal(mustImage(t, replayed), mustImage(t, s)) {
		t.Fatal("replaying the log gives another state")
	}
}

func mustImage(t *testing.T, s *State) []byte {
	t.Helper()
	b, err := EncodeImage(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// model remembers what was given out.
type model struct {
	t            *testing.T
	uids         map[string]bool
	incarnations map[uint64]bool
	epochs       map[uint64]bool
	ids          map[string]uint64 // the highest checkpoint id reserved per uid
	committed    map[string]uint64
}

func newModel(t *testing.T) *model {
	return &model{t, map[string]bool{}, map[uint64]bool{}, map[uint64]bool{}, map[string]uint64{}, map[string]uint64{}}
}

func (m *model) check(old, s *State, c Command, r Result, err error) {
	t := m.t
	t.Helper()
	if err != nil {
		return
	}
	if r.Unchanged != (s == old) || s != old && s.Revision != old.Revision+1 {
		t.Fatalf("%s: revision %d after %d, unchanged %t", Name(c), s.Revision, old.Revision, r.Unchanged)
	}
	switch c := c.(type) {
	case *CreateTopic:
		if m.incarnations[r.Number] {
			t.Fatalf("incarnation %d was given twice", r.Number)
		}
		m.incarnations[r.Number] = true
	case *RegisterWorker:
		if m.epochs[r.Number] {
			t.Fatalf("epoch %d was given twice", r.Number)
		}
		m.epochs[r.Number] = true
	case *ApplyPipeline:
		if _, existed := old.PipelineNamed(c.Namespace, c.Name); !existed && m.uids[r.UID] {
			t.Fatalf("uid %s was given twice", r.UID)
		}
		m.uids[r.UID] = true
	case *ReserveCheckpoints:
		if r.Range.First != m.ids[r.UID]+1 || r.Range.Last < r.Range.First {
			t.Fatalf("%s: ids %v follow %d", r.UID, r.Range, m.ids[r.UID])
		}
		m.ids[r.UID] = r.Range.Last
	}
	for p := range s.Pipelines("") {
		m.pipeline(old, s, p)
	}
	for p := range old.Pipelines("") {
		if _, ok := s.Pipeline(p.UID); !ok && p.Job.State.Active() {
			t.Fatalf("%s was deleted while %s", p.UID, p.Job.State)
		}
	}
}

func (m *model) pipeline(old, s *State, p *Pipeline) {
	t := m.t
	t.Helper()
	b, err := json.Marshal(p)
	if err != nil || len(b) > MaxPipelineBytes {
		t.Fatalf("%s: its entry has %d bytes: %v", p.UID, len(b), err)
	}
	for _, d := range p.Current.Modules {
		if !s.hasModule(p.Namespace, d) {
			t.Fatalf("%s uses module %s, which is gone", p.UID, d.Short())
		}
	}
	job := &p.Job
	before, existed := old.Pipeline(p.UID)
	if !existed {
		return
	}
	if before.Job.State != job.State && !slices.Contains(transitions[before.Job.State], job.State) {
		t.Fatalf("%s went from %s to %s", p.UID, before.Job.State, job.State)
	}
	if job.Attempt < before.Job.Attempt || job.Attempt > before.Job.Attempt+1 {
		t.Fatalf("%s: attempt %d after %d", p.UID, job.Attempt, before.Job.Attempt)
	}
	if job.Newest < before.Job.Newest || job.Last != nil && before.Job.Last != nil && job.Last.Manifest != before.Job.Last.Manifest && job.Last.ID == before.Job.Last.ID {
		t.Fatalf("%s: checkpoint %+v replaced %+v", p.UID, job.Last, before.Job.Last)
	}
	if job.Newest > before.Job.Newest {
		if job.Last.Attempt != before.Job.Attempt || !before.Job.Reserved.Contains(job.Last.ID) || before.Job.Unpublished() {
			t.Fatalf("%s: committed %+v on %+v", p.UID, job.Last, before.Job)
		}
		if job.Newest <= m.committed[p.UID] {
			t.Fatalf("%s: checkpoint %d after %d", p.UID, job.Newest, m.committed[p.UID])
		}
		m.committed[p.UID] = job.Newest
	}
	if job.Publish < before.Job.Publish || job.Publish > job.Newest {
		t.Fatalf("%s: published %d after %d, committed %d", p.UID, job.Publish, before.Job.Publish, job.Newest)
	}
	if len(job.Retained) > MaxRetained || job.State == JobFinished && job.Unpublished() && before.Job.State == JobDraining {
		t.Fatalf("%s: %+v", p.UID, job)
	}
	if job.State.HasTasks() && slices.Contains(job.Regions, 0) {
		t.Fatalf("%s is %s with regions %v", p.UID, job.State, job.Regions)
	}
	if attempts := len(job.Regions); attempts > 0 && slices.Max(job.Regions) > job.Attempt {
		t.Fatalf("%s: regions %v of attempt %d", p.UID, job.Regions, job.Attempt)
	}
}

// randomCommand prefers what fits, so that jobs get far, and says nonsense now and then.
func randomCommand(rng *rand.Rand, s *State, at int64) Command {
	pick := func(names ...string) string { return names[rng.IntN(len(names))] }
	ns := pick("default", "default", "team", "none")
	name := pick("a", "b", "c")
	d := func() Digest { return testDigest(rng.IntN(6)) }
	var pipelines []*Pipeline
	for p := range s.Pipelines("") {
		pipelines = append(pipelines, p)
	}
	var epochs []uint64
	for w := range s.Workers() {
		epochs = append(epochs, w.Epoch)
	}
	if len(pipelines) == 0 || rng.IntN(3) == 0 {
		switch rng.IntN(17) {
		case 0:
			return &CreateTopic{At: at, Namespace: ns, Name: name, Partitions: rng.IntN(9), Layout: LayoutFrames}
		case 1:
			return &DeleteTopic{At: at, Namespace: ns, Name: name}
		case 2, 3:
			return &PushModule{At: at, Namespace: ns, Name: name, Digest: d(), Manifest: d(), SizeBytes: 5}
		case 4:
			return &DeleteModule{At: at, Namespace: ns, Name: name, Digest: d()}
		case 5, 6:
			return &RegisterWorker{At: at, ID: pick("w1", "w2", "w3"), Slots: 1 + rng.IntN(4)}
		case 7:
			return &RemoveWorker{At: at, Epoch: uint64(rng.IntN(20))}
		case 8:
			return &CreateNamespace{At: at, Name: "team"}
		case 9:
			return &DeleteNamespace{At: at, Name: "team"}
		case 11:
			return &CreateToken{At: at, ID: pick("k1", "k2", "k3"), Role: Role(pick("admin", "read", "worker")), Namespace: pick("", "team"), Hash: d(), Expires: at + int64(rng.IntN(20))}
		case 15:
			return &SetLimits{At: at, Namespace: ns, Limits: LimitChange{Slots: new(rng.IntN(5)), Pipelines: new(rng.IntN(4)), Modules: new(rng.IntN(4)), ModuleBytes: new(int64(rng.IntN(40)))}}
		case 13:
			return &SetSecret{At: at, Namespace: ns, Name: name, Key: "k", Sealed: []byte(pick("x", "y", ""))}
		case 14:
			return &DeleteSecret{At: at, Namespace: ns, Name: name}
		case 12:
			return &RevokeToken{At: at, ID: pick("k1", "k2", "k3")}
		case 10:
			return &DeleteSavepoint{At: at, ID: fmt.Sprintf("s%d", rng.IntN(5))}
		default:
			rev := Revision{Graph: d(), Spec: d(), Widths: []int{1 + rng.IntN(2), 1 + rng.IntN(3)}, Delivery: ExactlyOnce, Retain: rng.IntN(4)}
			if rng.IntN(2) == 0 {
				rev.Modules = []Digest{d()}
			}
			return &ApplyPipeline{At: at, Namespace: ns, Name: name, Nonce: pick("", "x9"), Revision: rev}
		}
	}
	p := pipelines[rng.IntN(len(pipelines))]
	job := &p.Job
	attempt := job.Attempt
	if rng.IntN(8) == 0 {
		attempt = uint64(rng.IntN(5))
	}
	switch rng.IntN(12) {
	case 0:
		return &SetDesired{At: at, UID: p.UID, Desired: Desired(pick("running", "stopped")), From: StartFrom{Checkpoint: uint64(rng.IntN(2) * rng.IntN(30)), AllowDuplicates: rng.IntN(2) == 0}}
	case 1:
		return &DeletePipeline{At: at, UID: p.UID}
	case 2, 3, 4:
		var slots []uint64
		for range p.Current.Slots() {
			if len(epochs) > 0 {
				slots = append(slots, epochs[rng.IntN(len(epochs))])
			}
		}
		c := &StartAttempt{At: at, UID: p.UID, Attempt: attempt + 1, Revision: p.Current.Number, Slots: SlotsOf(slots)}
		if rng.IntN(3) == 0 {
			c.Regions = []int{rng.IntN(3)}
		}
		return c
	case 5, 6:
		to := append(Next(job.State), JobFinished)
		c := &SetJobState{At: at, UID: p.UID, Attempt: attempt, To: to[rng.IntN(len(to))], Failures: 1, RetryAt: at + 5, Error: &JobError{Class: ErrorBug, Text: "boom"}}
		if c.To == JobRestarting && rng.IntN(2) == 0 {
			c.Regions = []int{rng.IntN(3)}
		}
		return c
	case 7:
		return &ReserveCheckpoints{At: at, UID: p.UID, Count: uint64(rng.IntN(10))}
	case 8, 9:
		id := max(job.Newest+1, job.Reserved.First)
		if rng.IntN(5) == 0 {
			id = uint64(rng.IntN(60))
		}
		return &CommitCheckpoints{At: at, Items: []Commit{{UID: p.UID, ID: id, Attempt: attempt, Manifest: d(), Prepared: rng.IntN(2) == 0}, {UID: "p0", ID: 1}}}
	case 10:
		return &PublishCheckpoints{At: at, Items: []Publication{{UID: p.UID, ID: job.Newest}, {UID: p.UID, ID: uint64(rng.IntN(50))}}}
	default:
		return &CreateSavepoint{At: at, UID: p.UID, Checkpoint: job.Newest}
	}
}

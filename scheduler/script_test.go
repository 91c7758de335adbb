package scheduler

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/weirstream/weir/raftmeta/catalog"
)

var rewrite = flag.Bool("rewrite", false, "write what the scripts give now into testdata")

// TestScriptsGiveTheActionsThatTheyName runs testdata/*.txt: a line is an event,
// indented lines are the actions that came out. Proposals are applied to a real
// catalog at once, unless `hold` keeps their answers back until `release`. Workers
// are named by epoch, in the order of their registration; times are milliseconds.
func TestScriptsGiveTheActionsThatTheyName(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s := &script{t: t, state: catalog.New(), core: New(), now: second}
			for line := range strings.Lines(string(want)) {
				if !strings.HasPrefix(line, "    ") {
					s.line(strings.TrimRight(line, "\n"))
				}
			}
			if *rewrite {
				if err := os.WriteFile(file, []byte(s.out.String()), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			wantLines, gotLines := strings.Split(string(want), "\n"), strings.Split(s.out.String(), "\n")
			for i := range max(len(wantLines), len(gotLines)) {
				if i >= len(wantLines) || i >= len(gotLines) || wantLines[i] != gotLines[i] {
					t.Fatalf("%s:%d\n got %q\nwant %q", file, i+1, gotLines[min(i, len(gotLines)-1)], wantLines[min(i, len(wantLines)-1)])
				}
			}
		})
	}
}

type script struct {
	t       *testing.T
	state   *catalog.State
	core    *Core
	now     int64
	out     strings.Builder
	holding bool
	lost    bool // answers say that the outcome is unknown
	held    []Event
}

func (s *script) apply(c catalog.Command) {
	next, result, err := s.state.Apply(c)
	if err != nil {
		s.t.Fatalf("apply %s: %v", catalog.Name(c), err)
	}
	s.state = next
	s.step(CatalogChanged{State: s.state, Changes: result.Changes})
}

func (s *script) step(e Event) {
	for _, a := range s.core.Step(s.now, e) {
		fmt.Fprintf(&s.out, "    %s\n", s.action(a))
		if p, ok := a.(Propose); ok {
			next, result, err := s.state.Apply(p.Command)
			if s.lost {
				err = errors.New("outcome unknown")
			}
			s.state = next
			s.held = append(s.held, CatalogChanged{State: next, Changes: result.Changes}, Proposed{Token: p.Token, Result: result, Err: err, State: next})
		}
	}
	for !s.holding && len(s.held) > 0 {
		e := s.held[0]
		s.held = s.held[1:]
		s.step(e)
	}
}

func (s *script) action(a Action) string {
	switch a := a.(type) {
	case Propose:
		return "propose " + s.command(a.Command)
	case Trigger:
		return fmt.Sprintf("trigger %s checkpoint %d of %s attempt %d on workers %v", a.Kind, a.ID, a.UID, a.Attempt, a.Workers)
	case WriteManifest:
		return fmt.Sprintf("write manifest %d of %s attempt %d, %d parts, after %s", a.ID, a.UID, a.Attempt, len(a.Parts), a.Previous.Short())
	case Abort:
		return fmt.Sprintf("abort checkpoint %d of %s attempt %d on workers %v: %s", a.ID, a.UID, a.Attempt, a.Workers, a.Reason)
	case WriteSavepoint:
		return fmt.Sprintf("write savepoint of %s checkpoint %d", a.UID, a.Checkpoint.ID)
	case SavepointDone:
		return fmt.Sprintf("savepoint done of %s token %d: %q %v", a.UID, a.Token, a.ID, a.Err)
	case Notify:
		return fmt.Sprintf("notify %s %s: %s", a.Level, a.UID, a.Text)
	}
	return fmt.Sprintf("%T", a)
}

func (s *script) command(c catalog.Command) string {
	switch c := c.(type) {
	case *catalog.StartAttempt:
		var slots []uint64
		for i := range c.Slots.Len() {
			slots = append(slots, c.Slots.Worker(i))
		}
		return fmt.Sprintf("attempt %d of %s at revision %d on workers %v, regions %v", c.Attempt, c.UID, c.Revision, slots, c.Regions)
	case *catalog.SetJobState:
		text := fmt.Sprintf("%s is %s", c.UID, c.To)
		if c.RetryAt != 0 {
			text += fmt.Sprintf(" after failure %d until %d ms", c.Failures, c.RetryAt/millisecond)
		}
		if c.Error != nil {
			text += fmt.Sprintf(" because (%s) %s", c.Error.Class, c.Error.Text)
		}
		return text
	case *catalog.CommitCheckpoints:
		text := "commit"
		for _, i := range c.Items {
			text += fmt.Sprintf(" %s:%d", i.UID, i.ID)
		}
		return text
	case *catalog.PublishCheckpoints:
		text := "published"
		for _, i := range c.Items {
			text += fmt.Sprintf(" %s:%d", i.UID, i.ID)
		}
		return text
	case *catalog.ReserveCheckpoints:
		return fmt.Sprintf("reserve %d ids for %s", c.Count, c.UID)
	case *catalog.RemoveWorker:
		return fmt.Sprintf("remove worker %d: %s", c.Epoch, c.Reason)
	case *catalog.CreateSavepoint:
		return fmt.Sprintf("savepoint of %s checkpoint %d %q", c.UID, c.Checkpoint, c.Label)
	}
	return catalog.Name(c)
}

func (s *script) number(text string) uint64 {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *script) line(line string) {
	s.out.WriteString(line + "\n")
	if line == "" || line[0] == '#' {
		return
	}
	f := strings.Fields(line)
	arg := func(i int) string {
		if i < len(f) {
			return f[i]
		}
		return ""
	}
	var attempt uint64
	if p, ok := s.state.Pipeline(arg(1)); ok {
		attempt = p.Job.Attempt
	}
	each := func(make func(epoch uint64) Event) {
		for _, w := range f[2:] {
			s.step(make(s.number(w)))
		}
	}
	switch f[0] {
	case "at":
		s.now = int64(s.number(f[1])) * millisecond
		s.step(Tick{})
	case "lead":
		s.holding, s.held = false, nil
		s.core = New()
		s.step(BecameLeader{Seed: 1, State: s.state})
	case "hold":
		s.holding = true
	case "release":
		s.holding = false
		s.step(Tick{})
	case "lose":
		s.lost = f[1] == "answers"
	case "worker":
		s.apply(&catalog.RegisterWorker{At: s.now, ID: f[1], Slots: int(s.number(f[2])), Node: arg(3)})
	case "limit":
		s.apply(&catalog.SetLimits{At: s.now, Namespace: "default", Limits: catalog.LimitChange{Slots: new(int(s.number(f[1])))}})
	case "drain":
		s.apply(&catalog.DrainWorker{At: s.now, Epoch: s.number(f[1])})
	case "pipeline":
		s.pipeline(f)
	case "desired":
		s.apply(&catalog.SetDesired{At: s.now, UID: f[1], Desired: catalog.Desired(f[2])})
	case "ready":
		each(func(w uint64) Event { return TasksReady{Worker: w, UID: f[1], Attempt: attempt} })
	case "ended":
		each(func(w uint64) Event { return SourcesEnded{Worker: w, UID: f[1], Attempt: attempt} })
	case "seen":
		for _, w := range f[1:] {
			s.step(WorkerSeen{Worker: s.number(w)})
		}
	case "progress":
		s.step(WorkerSeen{Worker: s.number(f[2]), Progress: []Progress{{UID: f[1], Attempt: attempt, Count: s.number(f[3])}}})
	case "ack":
		if arg(5) != "" {
			attempt = s.number(f[5])
		}
		s.step(Ack{Worker: s.number(f[2]), UID: f[1], Attempt: attempt, ID: s.number(f[3]), Part: Part{Inline: []byte{1}, Prepared: arg(4) == "prepared"}})
	case "held":
		s.step(CheckpointHeld{Worker: s.number(f[2]), UID: f[1], Attempt: attempt, ID: s.number(f[3]), Kind: CheckpointKind(f[4])})
	case "decline":
		s.step(Decline{Worker: s.number(f[2]), UID: f[1], Attempt: attempt, ID: s.number(f[3]), Reason: strings.Join(f[4:], " ")})
	case "holds":
		s.step(Holding{Worker: s.number(f[2]), UID: f[1], Attempt: attempt, ID: s.number(f[3]), Tasks: []string{strings.Join(f[4:], " ")}})
	case "manifest":
		s.step(ManifestWritten{UID: f[1], Attempt: attempt, ID: s.number(f[2]), Digest: digest(s.number(f[2]))})
	case "manifest-failed":
		s.step(ManifestFailed{UID: f[1], Attempt: attempt, ID: s.number(f[2]), Reason: strings.Join(f[3:], " ")})
	case "published":
		s.step(OutputPublished{Worker: s.number(f[2]), UID: f[1], Attempt: attempt, ID: s.number(f[3])})
	case "failed":
		p, _ := s.state.Pipeline(f[1])
		r := int(s.number(f[2]))
		s.step(TaskFailed{UID: f[1], Region: r, Attempt: p.Job.Regions[r], Class: catalog.ErrorClass(f[3]), Text: strings.Join(f[4:], " ")})
	case "closed":
		s.step(WorkerClosed{Worker: s.number(f[1])})
	case "savepoint":
		s.step(SavepointRequested{UID: f[1], Label: arg(2), Token: 7})
	case "savepoint-written":
		s.step(SavepointWritten{UID: f[1], Token: 7, Digest: digest(s.number(f[2])), Reason: strings.Join(f[3:], " ")})
	case "delete":
		s.apply(&catalog.DeletePipeline{At: s.now, UID: f[1]})
	case "state":
		p, ok := s.state.Pipeline(f[1])
		if !ok {
			s.t.Fatalf("no pipeline %s", f[1])
		}
		last := uint64(0)
		if p.Job.Last != nil {
			last = p.Job.Last.ID
		}
		status, _ := s.core.Status(f[1])
		fmt.Fprintf(&s.out, "    %s, attempt %d, regions %v, checkpoint %d, published %d, failures %d, held by %q\n",
			p.Job.State, p.Job.Attempt, p.Job.Regions, last, p.Job.Publish, p.Job.Failures, status.HeldBy)
	default:
		s.t.Fatalf("no event %q", f[0])
	}
}

func (s *script) pipeline(f []string) {
	rev := catalog.Revision{Graph: digest(s.state.Revision + 1), Spec: digest(1), Delivery: catalog.ExactlyOnce}
	for _, option := range f[2:] {
		name, value, _ := strings.Cut(option, "=")
		switch name {
		case "widths":
			for _, w := range strings.Split(value, ",") {
				rev.Widths = append(rev.Widths, int(s.number(w)))
			}
		case "timeout":
			rev.TimeoutMs = int64(s.number(value))
		case "max_restarts":
			rev.MaxRestart = int(s.number(value))
		default:
			s.t.Fatalf("no option %q", name)
		}
	}
	s.apply(&catalog.ApplyPipeline{At: s.now, Namespace: "default", Name: f[1], Revision: rev})
}

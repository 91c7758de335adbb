package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// backedPipeline counts by key between topics of its own.
const backedPipeline = `pipeline: backed-%[1]s
module: count
parallelism: %[2]d
checkpoint: {interval: 100ms, min_pause: 20ms}
sources:
  in: {topic: backed-%[1]s-in, format: columns, columns: "key:int64,value:int64,pad:utf8"}
operators:
  sums: {function: count_sum, input: in}
sinks:
  out: {topic: backed-%[1]s-out, input: sums, format: columns, key: key}
`

const backedKeys = 600

// over starts a server with another's NATS and a data folder of its own.
func over(t *testing.T, log *world) *world {
	t.Helper()
	w := &world{nc: log.nc}
	var err error
	if w.setup, err = NewSetup(built.binary, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	w.setup.NATSListen, w.setup.Args = "", []string{"--nats", log.setup.NATSURL()}
	w.client = NewClient(w.setup.URL())
	if w.process, err = w.setup.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.process.Kill()
		w.logOnFailure(t)
	})
	return w
}

// rounds feeds all keys with 1, then with 2, and so on, until it is ended.
type rounds struct {
	fed  atomic.Int64 // rounds that are whole
	end  chan struct{}
	task sync.WaitGroup
	err  error // read after end
}

func startRounds(ctx context.Context, c *counts) *rounds {
	r := &rounds{end: make(chan struct{})}
	r.task.Go(func() {
		for n := int64(1); ; n++ {
			if r.err = c.feed(ctx, backedKeys, n); r.err != nil {
				return
			}
			r.fed.Store(n)
			select {
			case <-r.end:
				return
			default:
			}
		}
	})
	return r
}

// stop ends feeding and tells how many rounds there were.
func (r *rounds) stop(t *testing.T) int {
	t.Helper()
	close(r.end)
	r.task.Wait()
	if r.err != nil {
		t.Fatal(r.err)
	}
	return int(r.fed.Load())
}

// beyond waits until a stream has that many rows.
func (w *world) beyond(t *testing.T, stream string, rows int) {
	t.Helper()
	seen := 0
	w.follow(t, stream, func(m Message) error { seen += m.Frame.Rows; return nil }, func() bool { return seen >= rows })
}

// restored is what a restore answers.
type restored struct {
	Entries []struct{ Kind, Name, Done string }
	Resume  []struct {
		Name string
		Lost []string
	}
	Warnings []string
}

func (w *world) restore(t *testing.T, args ...string) (out restored) {
	t.Helper()
	if err := json.Unmarshal([]byte(w.mustWeir(t, "", append([]string{"backup", "restore", "-o", "json"}, args...)...)), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func (r *restored) topics(done string) (n int) {
	for _, e := range r.Entries {
		if e.Kind == "topic" && e.Done == done {
			n++
		}
	}
	return n
}

// Record n of a key has the value n, so that a count of n has the sum n*(n+1)/2 and
// whatever is lost, doubled or out of order shows.
func TestAClusterMovesByItsBackupUnderTraffic(t *testing.T) {
	log := alone(t)
	old := over(t, log)
	if err := old.client.PushModule(t.Context(), "count", built.count); err != nil {
		t.Fatal(err)
	}
	names, outs, traffic := []string{"a", "b"}, map[string]string{}, map[string]*rounds{}
	for i, name := range names {
		in := old.topic(t, "backed-"+name+"-in", 4)
		outs[name] = old.topic(t, "backed-"+name+"-out", 4)
		old.apply(t, backedPipeline, name, i+1)
		traffic[name] = startRounds(t.Context(), newCounts(log.nc, in, "backed-"+name+"-in", 4))
	}
	for _, name := range names {
		old.beyond(t, outs[name], 3*backedKeys)
	}
	dir := t.TempDir()
	nightly, move := filepath.Join(dir, "nightly.backup"), filepath.Join(dir, "move.backup")
	old.mustWeir(t, "", "backup", "create", nightly)
	for _, name := range names {
		old.state(t, "backed-"+name, "running")
	}
	if list := old.mustWeir(t, "", "savepoint", "list", "-o", "json"); strings.TrimSpace(list) != "[]" {
		t.Errorf("a backup left its savepoints: %s", list)
	}
	old.mustWeir(t, "", "backup", "create", move, "--stop")
	old.process.Kill()

	t.Run("the same NATS: nothing is lost, nothing is there twice", func(t *testing.T) {
		moved := over(t, log)
		done := moved.restore(t, move)
		if done.topics("bound") != len(done.Entries)-1-1-2-2 || len(done.Resume) != 2 || len(done.Warnings) != 0 {
			t.Errorf("restored %+v", done)
		}
		for _, p := range done.Resume {
			if len(p.Lost) > 0 {
				t.Errorf("pipeline %s: positions %v do not hold", p.Name, p.Lost)
			}
			moved.mustWeir(t, "", "pipeline", "resume", p.Name)
		}
		for _, name := range names {
			n := traffic[name].stop(t)
			moved.beyond(t, outs[name], n*backedKeys)
			moved.mustWeir(t, "", "pipeline", "stop", "backed-"+name)
			if err := checkCounts(t.Context(), log.nc, outs[name], backedKeys, backedKeys, n); err != nil {
				t.Errorf("pipeline %s: %v", name, err)
			}
		}
		moved.process.Kill()
	})
	if t.Failed() {
		return
	}

	t.Run("an older backup over the same NATS: nothing is lost, what came behind it is there again, and that is said", func(t *testing.T) {
		again := over(t, log)
		last := map[string]uint64{}
		for _, name := range names {
			var err error
			if last[name], err = ReadStream(t.Context(), log.nc, outs[name], 1, func(Message) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
		done := again.restore(t, nightly)
		if len(done.Warnings) != 4 || !strings.Contains(strings.Join(done.Warnings, "\n"), "since appears there again") { // of both pipelines, their output and their dead letters
			t.Errorf("warnings %q", done.Warnings)
		}
		for _, name := range names {
			again.mustWeir(t, "", "pipeline", "resume", "backed-"+name)
			ends, whole := map[int64]int64{}, 0
			want := traffic[name].fed.Load()
			_, err := Follow(within(t, time.Minute), log.nc, outs[name], last[name], time.Minute, func(m Message) error {
				for r := range m.Frame.Rows {
					k, n, sum := m.Frame.Columns[0].IntAt(r), m.Frame.Columns[1].IntAt(r), m.Frame.Columns[2].IntAt(r)
					if before, ok := ends[k]; ok && n != before+1 || sum != n*(n+1)/2 {
						return fmt.Errorf("key %d counts %d with sum %d after %d", k, n, sum, before)
					}
					if ends[k] = n; n == want {
						whole++
					}
				}
				return nil
			}, func() bool { return whole == backedKeys })
			if err != nil {
				t.Errorf("pipeline %s: %v", name, err)
			}
		}
	})

	t.Run("another NATS: topics are empty, state goes on at their first record if that is asked for", func(t *testing.T) {
		there := alone(t)
		dry := there.restore(t, nightly, "--dry-run")
		if len(dry.Resume) != 2 || len(dry.Resume[0].Lost) != 4 || dry.topics("bound") != 0 {
			t.Errorf("a dry run says %+v", dry)
		}
		there.restore(t, nightly, "--positions", "start")
		in, err := there.client.Topic(t.Context(), "backed-a-in")
		if err != nil {
			t.Fatal(err)
		}
		const value = 1_000_000
		if err := newCounts(there.nc, in.Topic.Stream, "backed-a-in", 4).feed(t.Context(), backedKeys, value); err != nil {
			t.Fatal(err)
		}
		there.mustWeir(t, "", "pipeline", "resume", "backed-a")
		rows := 0
		there.follow(t, outs["a"], func(m Message) error {
			for r := range m.Frame.Rows {
				k, n, sum := m.Frame.Columns[0].IntAt(r), m.Frame.Columns[1].IntAt(r), m.Frame.Columns[2].IntAt(r)
				if n < 2 || sum != value+(n-1)*n/2 {
					return fmt.Errorf("key %d counts %d with sum %d: not one more than a state of the first %d rounds", k, n, sum, n-1)
				}
				rows++
			}
			return nil
		}, func() bool { return rows == backedKeys })
	})
}

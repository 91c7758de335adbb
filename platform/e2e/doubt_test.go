package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/weirstream/weir/platform/embednats"
	"github.com/weirstream/weir/platform/failpoint"
)

const doubtKeys = 2000

// An epoch is published, the process dies before the catalog hears of it, and
// somebody purges the topic: nothing can tell any more whether it was visible.
func TestOutputInDoubtStopsTheJobUntilTheUserDecides(t *testing.T) {
	for _, c := range []struct {
		flag string
		lost bool
	}{{"--assume-published", true}, {"--publish-again", false}} {
		t.Run(c.flag, func(t *testing.T) {
			w := alone(t)
			if err := w.client.PushModule(t.Context(), "count", built.count); err != nil {
				t.Fatal(err)
			}
			in, out := w.topic(t, "doubt-in", 4), w.topic(t, "doubt-out", 4)
			w.restart(t, failpoint.EnvVar+"="+failpoint.PublishedNoticed+":1:kill")
			feed := newCounts(w.nc, in, "doubt-in", 4)
			if err := feed.feed(t.Context(), doubtKeys, 1); err != nil {
				t.Fatal(err)
			}
			w.apply(t, countPipeline, "doubt")
			select {
			case <-w.process.Ended():
			case <-time.After(readyLimit):
				t.Fatal("the process did not come to its first published checkpoint")
			}
			gone := purge(t, filepath.Join(w.setup.DataDir(), "nats"), out)
			if len(gone) == 0 {
				t.Fatal("nothing was visible when the process died")
			}
			var err error
			if w.process, err = w.setup.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			s := w.state(t, "doubt", "failed")
			if !strings.Contains(s.Pipeline.Error, "cannot tell whether") || !strings.Contains(s.Pipeline.ErrorHint, "--assume-published") || !strings.Contains(s.Pipeline.ErrorHint, "--publish-again") {
				t.Errorf("it failed with %q, hint %q", s.Pipeline.Error, s.Pipeline.ErrorHint)
			}
			if _, err := w.setup.Weir(t.Context(), nil, "pipeline", "resume", "doubt", c.flag); err != nil {
				t.Fatal(err)
			}
			if err := feed.feed(t.Context(), doubtKeys, 1); err != nil {
				t.Fatal(err)
			}
			want := map[reached]int{}
			for k := range int64(doubtKeys) {
				want[reached{k, 1}], want[reached{k, 2}] = 1, 1
			}
			for r := range gone {
				if c.lost {
					delete(want, r)
				}
			}
			got, rows := map[reached]int{}, 0
			w.follow(t, out, func(m Message) error { rows += m.Rows(); return visitCounts(m, got) }, func() bool { return rows >= len(want) })
			w.state(t, "doubt", "running")
			if err := w.client.Stop(t.Context(), "doubt"); err != nil {
				t.Fatal(err)
			}
			w.state(t, "doubt", "stopped")
			clear(got)
			if _, err := ReadStream(t.Context(), w.nc, out, 1, func(m Message) error { return visitCounts(m, got) }); err != nil {
				t.Fatal(err)
			}
			for r := range want {
				if got[r] != 1 {
					t.Fatalf("key %d at count %d is there %d times, want once", r.key, r.count, got[r])
				}
			}
			if len(got) != len(want) {
				t.Errorf("%d rows, want %d: what was in doubt is there too", len(got), len(want))
			}
			if _, err := w.setup.Weir(t.Context(), nil, "pipeline", "resume", "doubt", c.flag); err == nil || !strings.Contains(err.Error(), "none of its output is in doubt") {
				t.Errorf("deciding again where nothing is in doubt: %v", err)
			}
		})
	}
}

// reached is a row of count_sum: the n-th of its key.
type reached struct{ key, count int64 }

func visitCounts(m Message, into map[reached]int) error {
	if m.Frame == nil {
		return fmt.Errorf("message %d is no frame", m.Sequence)
	}
	for r := range m.Frame.Rows {
		into[reached{m.Frame.Columns[0].IntAt(r), m.Frame.Columns[1].IntAt(r)}]++
	}
	return nil
}

// purge empties a stream of a server that does not run, and gives what was in it.
func purge(t *testing.T, dir, stream string) map[reached]int {
	t.Helper()
	s, err := embednats.Start(t.Context(), embednats.Options{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	nc, err := s.Connect("test")
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	there := map[reached]int{}
	if _, err := ReadStream(t.Context(), nc, stream, 1, func(m Message) error { return visitCounts(m, there) }); err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	st, err := js.Stream(t.Context(), stream)
	if err == nil {
		err = st.Purge(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return there
}

// restart ends the server in order and starts it with more variables.
func (w *world) restart(t *testing.T, env ...string) {
	t.Helper()
	if err := w.process.Stop(); err != nil {
		t.Fatal(err)
	}
	var err error
	if w.process, err = w.setup.Start(t.Context(), env...); err != nil {
		t.Fatal(err)
	}
}

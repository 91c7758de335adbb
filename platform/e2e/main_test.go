package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

// built are the program under test and the modules, built once for all tests.
var built struct{ binary, guest, count, functions string }

// shared is a server that tests share which do not kill it. Each has topics and
// pipelines of its own.
var shared struct {
	once sync.Once
	*world
	err error
}

func TestMain(m *testing.M) {
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "weir-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := build(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if shared.world != nil {
		if err := shared.close(); err != nil {
			fmt.Fprintln(os.Stderr, "the shared server:", err)
			code = max(code, 1)
		}
		os.RemoveAll(shared.setup.Dir)
	}
	return code
}

func build(dir string) error {
	ctx := context.Background()
	root, err := Root()
	if err != nil {
		return err
	}
	built.count = filepath.Join(root, "sdk", "c", "bench", "count_sum.wasm")
	if built.binary, err = BuildServer(ctx, root, dir); err != nil {
		return err
	}
	if built.guest, err = BuildGuest(ctx, root, dir); err != nil {
		return err
	}
	built.functions, err = BuildFunctions(ctx, root, dir)
	return err
}

// world is a server with its clients.
type world struct {
	setup   Setup
	process *Process
	client  *Client
	nc      *nats.Conn
}

func open(ctx context.Context, dir string, args ...string) (*world, error) {
	w := &world{}
	var err error
	if w.setup, err = NewSetup(built.binary, dir); err != nil {
		return nil, err
	}
	w.setup.Args = args
	w.client = NewClient(w.setup.URL())
	if w.process, err = w.setup.Start(ctx); err != nil {
		return nil, err
	}
	w.nc, err = DialNATS(w.setup.NATSURL())
	return w, err
}

func (w *world) close() error {
	w.nc.Close()
	return w.process.Stop()
}

// alone starts a server for one test.
func alone(t *testing.T, args ...string) *world {
	t.Helper()
	w, err := open(t.Context(), t.TempDir(), args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.nc.Close()
		w.process.Kill()
		w.logOnFailure(t)
	})
	return w
}

// together gives the shared server.
func together(t *testing.T) *world {
	t.Helper()
	shared.once.Do(func() {
		dir, err := os.MkdirTemp("", "weir-e2e-shared-")
		if err != nil {
			shared.err = err
			return
		}
		w, err := open(context.Background(), dir)
		if err == nil {
			err = w.client.PushModule(context.Background(), "guest", built.guest)
		}
		shared.world, shared.err = w, err
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	t.Cleanup(func() { shared.logOnFailure(t) })
	return shared.world
}

// logOnFailure shows the end of the server's log beside a failure.
func (w *world) logOnFailure(t *testing.T) {
	if t.Failed() {
		w.showLog(t)
	}
}

func (w *world) showLog(t *testing.T) {
	const tail = 6000
	b, err := os.ReadFile(w.setup.LogPath())
	if err != nil {
		t.Log(err)
		return
	}
	t.Logf("end of the server's log:\n%s", b[max(0, len(b)-tail):])
}

func (w *world) topic(t *testing.T, name string, partitions int) string {
	t.Helper()
	topic, err := w.client.CreateTopic(t.Context(), name, partitions, weirv1.Layout_LAYOUT_FRAMES)
	if err != nil {
		t.Fatal(err)
	}
	return topic.Stream
}

func (w *world) apply(t *testing.T, format string, args ...any) string {
	t.Helper()
	p, err := w.client.Apply(t.Context(), fmt.Sprintf(format, args...))
	if err != nil {
		t.Fatal(err)
	}
	return p.Uid
}

// within bounds what a test waits for.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func (w *world) state(t *testing.T, pipeline string, states ...string) *weirv1.PipelineStatus {
	t.Helper()
	s, err := w.client.AwaitState(within(t, 30*time.Second), pipeline, states...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// feedAll feeds a whole workload.
func (w *world) feedAll(t *testing.T, stream, topic string, load *Workload) {
	t.Helper()
	f, err := StartFeed(t.Context(), w.nc, stream, topic, load)
	if err != nil {
		t.Fatal(err)
	}
	f.Allow(1)
	if err := f.Wait(); err != nil {
		t.Fatal(err)
	}
}

// follow reads a topic until done.
func (w *world) follow(t *testing.T, stream string, visit func(Message) error, done func() bool) {
	t.Helper()
	if _, err := Follow(within(t, 60*time.Second), w.nc, stream, 0, 30*time.Second, visit, done); err != nil {
		t.Fatal(err)
	}
}

// reconnected waits until the plain client is back after a death of the server:
// its own patience is not the server's time.
func (w *world) reconnected(t *testing.T) {
	t.Helper()
	ctx := within(t, 20*time.Second)
	for w.nc.FlushTimeout(pollEvery) != nil {
		if err := pause(ctx, time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
}

package wasmhost

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// goGuest builds testdata/goguest once, as a user would.
var goGuest = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "weir-goguest")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "guest.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", out, "./testdata/goguest")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, errors.New(string(text))
	}
	return os.ReadFile(out)
})

func buildGoGuest(t testing.TB) []byte {
	t.Helper()
	wasm, err := goGuest()
	if err != nil {
		t.Fatal(err)
	}
	return wasm
}

func text(cmd, arg uint32, s string) []byte { return append(command(cmd, arg), s...) }

func TestAGuestBuiltByGoStartsAndKeepsWhatItCounts(t *testing.T) {
	in, handle := newInstance(t, newHost(t, Options{}), buildGoGuest(t), InstanceOptions{})
	for i, want := range []string{"a=1 b=2 ", "a=2 b=4 "} {
		out, err := call(t.Context(), in, handle, text(1, 0, "a b b"), CallOptions{})
		if err != nil || string(out) != want {
			t.Errorf("call %d: %q, %v, want %q", i, out, err, want)
		}
	}
	manifest, err := in.Describe(t.Context(), nil, CallOptions{})
	if err != nil || string(manifest) != `{"abi":{"major":1,"minor":0}}` {
		t.Errorf("manifest %q, %v", manifest, err)
	}
}

func TestAGoGuestSeesTheCallsClockAndNothingOfTheMachine(t *testing.T) {
	in, handle := newInstance(t, newHost(t, Options{}), buildGoGuest(t), InstanceOptions{})
	out, err := call(t.Context(), in, handle, text(2, 5, ""), CallOptions{ClockMicros: 1234567})
	if err != nil || !strings.HasPrefix(string(out), "1234567 ") || !strings.HasSuffix(string(out), " []") {
		t.Errorf("got %q, %v", out, err)
	}
	out, err = call(t.Context(), in, handle, text(8, 0, ""), CallOptions{})
	if err != nil || !strings.Contains(string(out), "/etc/passwd") {
		t.Errorf("reading a file: %q, %v", out, err)
	}
}

func TestTheSameCallsOnFreshInstancesGiveTheSameBytes(t *testing.T) {
	h := newHost(t, Options{})
	var first string
	for i := range 3 {
		in, handle := newInstance(t, h, buildGoGuest(t), InstanceOptions{})
		var all string
		for _, c := range [][]byte{text(1, 0, "x y z"), text(2, 9, ""), text(1, 0, "y")} {
			out, err := call(t.Context(), in, handle, c, CallOptions{ClockMicros: 77, Seed: 5})
			if err != nil {
				t.Fatal(err)
			}
			all += string(out)
		}
		if i == 0 {
			first = all
		} else if all != first {
			t.Errorf("run %d gives %q, the first gave %q", i, all, first)
		}
	}
}

func TestAGoGuestsMisdeedsAreNamed(t *testing.T) {
	h := newHost(t, Options{})
	for _, c := range []struct {
		name string
		cmd  uint32
		want error
		logs string
	}{
		{"a panic", 4, ErrTrap, "panic: on purpose"},
		{"sleeping", 5, ErrWait, ""},
		{"memory without end", 6, ErrMemory, "out of memory"},
		{"recursion without end", 7, ErrStack, ""},
		{"os.Exit", 9, ErrExit, ""},
		{"waiting on a channel", 10, ErrTrap, "deadlock"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in, handle := newInstance(t, h, buildGoGuest(t), InstanceOptions{})
			_, err := call(t.Context(), in, handle, text(c.cmd, 0, ""), CallOptions{Deadline: time.Now().Add(20 * time.Second)})
			var trap *Trap
			if !errors.Is(err, c.want) || !errors.As(err, &trap) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
			if !strings.Contains(strings.Join(trap.Logs, "\n"), c.logs) {
				t.Errorf("the report lacks %q:\n%s", c.logs, trap.Report())
			}
		})
	}
}

func TestAPanicWithItsStackIsOneEntryOfTheLog(t *testing.T) {
	h := newHost(t, Options{})
	logs := &recorder{}
	in, handle := newInstance(t, h, buildGoGuest(t), InstanceOptions{Imports: logs})
	if _, err := call(t.Context(), in, handle, text(4, 0, ""), CallOptions{}); !errors.Is(err, ErrTrap) {
		t.Fatal(err)
	}
	// The guest says "one line" before it panics.
	if len(logs.lines) != 2 || !strings.HasPrefix(logs.lines[1], "panic: on purpose\n") || !strings.Contains(logs.lines[1], "goroutine 1") {
		t.Errorf("%d entries: %q", len(logs.lines), logs.lines)
	}
}

func TestLinesOnStandardErrorOfACallThatGoesWellStayLines(t *testing.T) {
	l, logs := &lineLog{}, &recorder{}
	l.begin()
	l.write(logs, 2, []byte("one\ntwo\n"))
	l.write(logs, 1, []byte("three\n"))
	l.write(logs, 2, []byte("four\nfive"))
	l.end(logs, false)
	if want := []string{"one", "two", "three", "four", "five"}; !slices.Equal(logs.lines, want) {
		t.Errorf("%q, want %q", logs.lines, want)
	}
}

// pauses reads how long the world has been stopped so far, and how often.
func longestPause(t *testing.T, during func()) time.Duration {
	t.Helper()
	read := func() *metrics.Float64Histogram {
		s := []metrics.Sample{{Name: "/sched/pauses/stopping/gc:seconds"}}
		metrics.Read(s)
		return s[0].Value.Float64Histogram()
	}
	before := append([]uint64(nil), read().Counts...)
	during()
	after := read()
	longest := 0.0
	for i, n := range after.Counts {
		if n > before[i] {
			longest = after.Buckets[i+1]
		}
	}
	return time.Duration(longest * float64(time.Second))
}

func TestAGarbageCollectionDuringALongCallStallsTheProcessForLessThanTenMilliseconds(t *testing.T) {
	h := newHost(t, Options{})
	var stalls []time.Duration
	for range deadlineTries {
		in, handle := newInstance(t, h, buildGoGuest(t), InstanceOptions{})
		running := make(chan struct{})
		ended := make(chan error, 1)
		go func() {
			close(running)
			_, err := call(t.Context(), in, handle, text(3, 1, ""), CallOptions{Deadline: time.Now().Add(300 * time.Millisecond)})
			ended <- err
		}()
		<-running
		stalls = append(stalls, longestPause(t, func() {
			for range 10 {
				runtime.GC()
			}
		}))
		if err := <-ended; !errors.Is(err, ErrDeadline) {
			t.Fatalf("the long call ended with %v", err)
		}
	}
	if m := median(stalls); m > 10*time.Millisecond {
		t.Errorf("stopping the world took %v (median of %v)", m, stalls)
	}
	t.Logf("longest stops: %v", stalls)
}

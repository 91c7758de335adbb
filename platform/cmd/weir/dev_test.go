package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/platform/cli"
)

// Deadlines of a loaded machine; what is measured is logged.
const (
	devPatience = 2 * time.Minute  // for a first build, or for a line that must come
	devEdit     = 30 * time.Second // from an edit to its first output; 5 s is what is promised on an idle one
	devPace     = 100 * time.Millisecond
)

// session is a running `weir dev`, its two streams line by line.
type session struct {
	t        *testing.T
	url      string
	out, log <-chan string
	cancel   context.CancelFunc
	exit     <-chan int
}

// lines gives the lines of a stream that a command writes.
func lines(t *testing.T) (io.Writer, <-chan string) {
	r, w := io.Pipe()
	t.Cleanup(func() { _ = r.Close() })
	to := make(chan string, 4096)
	go func() {
		for s := bufio.NewScanner(r); s.Scan(); {
			to <- s.Text()
		}
	}()
	return w, to
}

func startDev(t *testing.T, args ...string) *session {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	stdout, out := lines(t)
	stderr, log := lines(t)
	exit := make(chan int, 1)
	s := &session{t: t, out: out, log: log, cancel: cancel, exit: exit}
	go func() {
		exit <- cli.Main(ctx, append([]string{"dev"}, args...), cli.Env{
			Stdin: strings.NewReader(""), Stdout: stdout, Stderr: stderr,
			Getenv: func(string) string { return "" }, Build: build(), Local: inProcess(),
		})
	}()
	s.url = strings.TrimPrefix(s.says("ready "), "ready ")
	return s
}

// says waits for a line of the log that has a text in it.
func (s *session) says(want string) string {
	s.t.Helper()
	var seen []string
	for late := time.After(devPatience); ; {
		select {
		case l := <-s.log:
			if strings.Contains(l, want) {
				return l
			}
			seen = append(seen, l)
		case <-late:
			s.t.Fatalf("%q was not said; what was:\n%s", want, strings.Join(seen, "\n"))
		}
	}
}

// click publishes one click of ann as anybody would.
func (s *session) click() {
	s.t.Helper()
	if _, errs, exit := weir(s.t, `{"user":"ann","page":"/","at":"2026-01-05T09:00:00Z"}`+"\n", "--server", s.url, "topic", "publish", "clicks", "--file", "-"); exit != 0 {
		s.t.Fatal(errs)
	}
}

// count waits for the next count of ann.
func (s *session) count() int64 {
	s.t.Helper()
	for late := time.After(devPatience); ; {
		select {
		case l := <-s.out:
			var c struct {
				User   string
				Clicks int64
			}
			if err := json.Unmarshal([]byte(strings.TrimPrefix(l, "counts ")), &c); err != nil {
				s.t.Fatalf("%q: %v", l, err)
			}
			if c.User == "ann" {
				return c.Clicks
			}
		case <-late:
			s.t.Fatal("no count came")
		}
	}
}

func edit(t *testing.T, path, from, to string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(text, []byte(from)) {
		t.Fatalf("%s has no %q", path, from)
	}
	if err := os.WriteFile(path, bytes.Replace(text, []byte(from), []byte(to), 1), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Each click adds one under the first revision and ten under the second. Clicks
// go on through the edit, so each count must be its predecessor plus one of the
// two: a lost state, a lost click or a doubled one breaks the row.
func TestAGoEditChangesTheOutputWithinSecondsAndKeepsState(t *testing.T) {
	t.Setenv("GOPROXY", "off")
	t.Setenv("GOFLAGS", "-mod=mod -trimpath")
	t.Setenv("GOWORK", "off")
	dir := filepath.Join(t.TempDir(), "clicks")
	if _, errs, exit := weir(t, "", "init", "--lang", "go", "--template", "keyed", dir); exit != 0 {
		t.Fatal(errs)
	}
	source := filepath.Join(dir, "main.go")
	s := startDev(t, dir)
	s.says("applied clicks revision 1")
	for want := int64(1); want <= 3; want++ {
		s.click()
		if have := s.count(); have != want {
			t.Fatalf("count %d, want %d", have, want)
		}
	}

	edit(t, source, "*n++", "*n += 10")
	began, last := time.Now(), int64(3)
	for added := int64(1); added == 1; {
		s.click()
		now := s.count()
		if added = now - last; added != 1 && added != 10 {
			t.Fatalf("count %d after %d", now, last)
		}
		last = now
		<-time.After(devPace)
	}
	took := time.Since(began) - devPace
	t.Logf("edit to new output: %v", took.Round(10*time.Millisecond))
	if took > devEdit {
		t.Errorf("an edit took %v to its first output", took)
	}

	edit(t, source, "*n += 10", "*n += ten")
	s.says("undefined: ten")
	s.click()
	if have := s.count(); have != last+10 {
		t.Errorf("count %d after a failed build, want %d: the running revision did not go on", have, last+10)
	}

	s.cancel()
	select {
	case exit := <-s.exit:
		if exit != 0 {
			t.Errorf("exit %d", exit)
		}
	case <-time.After(devPatience):
		t.Error("it did not end")
	}
}

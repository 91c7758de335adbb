package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func openLog(t *testing.T) *Log {
	t.Helper()
	l, err := Open(filepath.Join(t.TempDir(), "audit.log"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func targets(t *testing.T, l *Log, since time.Time) string {
	t.Helper()
	var all []string
	if err := l.Read(t.Context(), since, false, func(e Entry) error { all = append(all, e.Target); return nil }); err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, " ")
}

func TestEntriesComeBackInOrderAcrossARestartAndAnUnfinishedLine(t *testing.T) {
	l := openLog(t)
	for i, name := range []string{"a", "b"} {
		l.Write(Entry{Time: noon.Add(time.Duration(i) * time.Hour), Who: "k3", Method: "x/Y", Target: name, Outcome: "ok"})
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(l.path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(f, `{"time":"2026-03-01T14:00:00Z","tar`, "\n")
	f.Close()
	if l, err = Open(l.path, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	l.Write(Entry{Time: noon.Add(3 * time.Hour), Target: strings.Repeat("c", 1000)})
	if got := targets(t, l, noon); got != "a b "+strings.Repeat("c", maxText)+"…" {
		t.Errorf("read %q", got)
	}
	if got := targets(t, l, noon.Add(time.Minute)); !strings.HasPrefix(got, "b ") {
		t.Errorf("since a minute past noon: %q", got)
	}
	if info, err := os.Stat(l.path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	stop := errors.New("enough")
	if err := l.Read(t.Context(), noon, true, func(Entry) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("a reader that has enough: %v", err)
	}
}

func TestAFullFileIsFollowedByAnotherAndReadersFollowToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := openLog(t)
		filler := strings.Repeat("x", maxText)
		write := func(from, to int) {
			for i := from; i < to; i++ {
				l.Write(Entry{Time: noon, Target: fmt.Sprintf("%d", i), Namespace: filler, Remote: filler, Method: filler})
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		next, ended := 0, make(chan error, 1)
		go func() {
			ended <- l.Read(ctx, noon, true, func(e Entry) error {
				if e.Target != fmt.Sprint(next) {
					return fmt.Errorf("%s came after %d", e.Target, next-1)
				}
				next++
				return nil
			})
		}()
		// More than one file, and with pauses in which the reader catches up.
		const perFile = MaxFileBytes / (3*maxText + 150)
		for i := range 15 {
			write(i*perFile/10, (i+1)*perFile/10)
			synctest.Wait()
		}
		if next != 15*(perFile/10) && next != 15*perFile/10 {
			t.Errorf("%d entries were followed", next)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if _, err := os.Stat(l.path + ".1"); err != nil {
			t.Error("no file was rotated")
		}
		write(0, 8*perFile)
		if _, err := os.Stat(l.numbered(KeptFiles)); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(l.numbered(KeptFiles + 1)); err == nil {
			t.Error("more files are kept than should be")
		}
	})
}

func TestCallsThatComeByThousandsAreGathered(t *testing.T) {
	l := openLog(t)
	e := Entry{Who: "k3", Method: "x/Publish", Target: "flights", Outcome: "ok"}
	for i := range 1000 {
		e.Time = noon.Add(time.Duration(i) * 50 * time.Millisecond)
		l.Gather(e)
	}
	if got := targets(t, l, noon); got != "" {
		t.Errorf("written at once: %q", got)
	}
	e.Target, e.Time = "orders", noon.Add(gatherFor)
	l.Gather(e)
	var first Entry
	if err := l.Read(t.Context(), noon, false, func(e Entry) error { first = e; return nil }); err != nil || first.Count != 1000 || first.Target != "flights" || !first.Time.Equal(noon.Add(999*50*time.Millisecond)) {
		t.Errorf("gathered as %+v: %v", first, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := targets(t, l, noon); got != "flights orders" {
		t.Errorf("after the end: %q", got)
	}
}

func TestALogThatCannotBeWrittenSaysSoOnceAndGoesOnLater(t *testing.T) {
	var said strings.Builder
	l, err := Open(filepath.Join(t.TempDir(), "audit.log"), slog.New(slog.NewTextHandler(io.Writer(&said), nil)))
	if err != nil {
		t.Fatal(err)
	}
	l.file.Close()
	for range 3 {
		l.Write(Entry{Time: noon, Target: "lost"})
	}
	if n := strings.Count(said.String(), "cannot be written"); n != 1 {
		t.Errorf("said %d times", n)
	}
	l.file = nil
	l.Write(Entry{Time: noon, Target: "kept"})
	if got := targets(t, l, noon); got != "kept" {
		t.Errorf("read %q", got)
	}
}

package cli

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

func commands(t *testing.T) map[string]*cobra.Command {
	t.Helper()
	a := &app{env: Env{Getenv: func(string) string { return "" }}}
	all := map[string]*cobra.Command{}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		all[strings.TrimPrefix(c.CommandPath(), "weir ")] = c
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(a.root())
	return all
}

// Scripts use these names; they never change.
func TestTheFixedNamesAreThere(t *testing.T) {
	all := commands(t)
	for _, name := range []string{
		"server", "dev", "run", "test", "init", "doctor", "version",
		"topic create", "topic publish", "topic read", "topic list", "topic info", "topic delete",
		"module push", "module list", "module info", "module delete",
		"pipeline validate", "pipeline diff", "pipeline apply", "pipeline list", "pipeline status", "pipeline stop", "pipeline resume", "pipeline delete", "pipeline logs",
		"namespace create", "namespace list", "namespace delete", "checkpoint list", "deadletter list", "deadletter show", "deadletter replay",
	} {
		if all[name] == nil {
			t.Errorf("weir %s is missing", name)
		}
	}
	for name, flags := range map[string]string{
		"server": "data-dir listen durability", "run": "input output", "topic create": "partitions layout", "topic publish": "file key",
		"topic read": "from until-end output", "pipeline status": "watch", "pipeline logs": "follow", "pipeline resume": "from-checkpoint allow-duplicates", "init": "lang template",
	} {
		for flag := range strings.FieldsSeq(flags) {
			if all[name].Flag(flag) == nil {
				t.Errorf("weir %s --%s is missing", name, flag)
			}
		}
	}
	if _, out, exit := run(t, "", "", Local{}, "completion", "bash"); exit != 0 {
		t.Error(out)
	}
}

func TestEveryCommandExplainsItselfWithAnExample(t *testing.T) {
	for name, c := range commands(t) {
		if c.Short == "" || c.Long == "" {
			t.Errorf("weir %s has no description", name)
		}
		if !c.HasSubCommands() && name != "exit-codes" && !strings.Contains(c.Example, "  weir "+name) {
			t.Errorf("weir %s has no example that begins with its name", name)
		}
		for line := range strings.Lines(c.Long) {
			if len(line) > 90 {
				t.Errorf("weir %s: line of %d characters: %s", name, len(line), line)
			}
		}
	}
}

func TestEveryListingSpeaksJSON(t *testing.T) {
	for name, c := range commands(t) {
		if last := name[strings.LastIndexByte(name, ' ')+1:]; last == "list" || last == "info" || last == "show" || last == "status" {
			if f := c.Flag("output"); f == nil || !strings.Contains(f.Usage, "json") {
				t.Errorf("weir %s has no -o json", name)
			}
		}
	}
}

// locked is a writer that two goroutines use.
type locked struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func TestProgressShowsOnATerminalAfterASecondAndGoesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			name            string
			terminal, quiet bool
			work            time.Duration
			lines           int
		}{
			{"short work", true, false, 900 * time.Millisecond, 0},
			{"long work", true, false, 1500 * time.Millisecond, 3},
			{"in a pipe", false, false, time.Minute, 0},
			{"with -q", true, true, time.Minute, 0},
		} {
			w := &locked{}
			a := &app{env: Env{Stderr: w, ErrTerminal: c.terminal}, quiet: c.quiet}
			p := a.startProgress(func(time.Duration) string { return "working" })
			time.Sleep(c.work)
			p.end()
			out := w.b.String()
			if n := strings.Count(out, "working"); n != c.lines || (n > 0) != strings.HasSuffix(out, "\r\x1b[K") {
				t.Errorf("%s: %q", c.name, out)
			}
		}
	})
}

func TestTablesAlignWhateverTheColoursAndLetters(t *testing.T) {
	tb := newTable("NAME", ">N", "STATE")
	tb.row("naïve", "1", paint(true).green("ok"))
	tb.row("a", "1,000", paint(true).red("failed"))
	var out bytes.Buffer
	if err := tb.print(&out, false); err != nil {
		t.Fatal(err)
	}
	want := "NAME       N  STATE\nnaïve      1  \x1b[32mok\x1b[0m\na      1,000  \x1b[31mfailed\x1b[0m\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func TestNumbersForPeople(t *testing.T) {
	for got, want := range map[string]string{
		count(0): "0", count(999): "999", count(1000): "1,000", count(1234567): "1,234,567",
		size(0): "0 B", size(1023): "1023 B", size(1536): "1.5 KiB", size(1 << 40): "1.0 TiB",
		period(86400000): "24h", period(60000): "1m", period(5400000): "1h30m", period(1500): "1.5s",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestColoursObeyTheTerminalAndNOCOLOR(t *testing.T) {
	for _, c := range []struct {
		terminal, flag bool
		env            string
		want           bool
	}{{true, false, "", true}, {false, false, "", false}, {true, true, "", false}, {true, false, "NO_COLOR", false}} {
		a := &app{noColor: c.flag, env: Env{Getenv: func(name string) string {
			if name == c.env {
				return "1"
			}
			return ""
		}}}
		if got := a.colours(c.terminal); got != c.want {
			t.Errorf("%+v: %t", c, got)
		}
	}
}

// BenchmarkPublishFrames is what the client does for each record, without the network.
func BenchmarkPublishFrames(b *testing.B) {
	text := manyLines(10000, 1000)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		stop := make(chan struct{})
		r := newRecordReader(newLines(strings.NewReader(text), stop), "json", "id", "")
		f := newFrameBatcher(8, 1)
		for {
			rec, err := r.next()
			if err != nil {
				break
			}
			if f.add(rec, 0) {
				if _, err := f.cut(); err != nil {
					b.Fatal(err)
				}
			}
			n++
		}
		close(stop)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
}

func TestWhatBothSidesWereDoingIsSaidOnce(t *testing.T) {
	for _, c := range []struct{ doing, message, want string }{
		{`read topic "x"`, `read topic "x": there is none: not found`, `read topic "x": there is none`},
		{`read topic "x"`, `there is none`, `read topic "x": there is none`},
	} {
		err := explain(fmt.Errorf("%s: %w", c.doing, connect.NewError(connect.CodeNotFound, errors.New(c.message))))
		if err.text != c.want || err.exit != ExitNotFound {
			t.Errorf("%q, exit %d", err.text, err.exit)
		}
	}
}

func TestAnErrorThatAJobHasGotOverIsNotShown(t *testing.T) {
	for state, want := range map[string]string{"restarting": "trap", "failed": "trap", "starting": "trap", "running": "", "stopped": "", "finished": ""} {
		p := &weirv1.Pipeline{State: state, Error: "trap", ErrorHint: "logs"}
		if got := trouble(p); got != want {
			t.Errorf("%s shows %q", state, got)
		}
		if text := (&app{env: Env{Getenv: func(string) string { return "" }}}).statusText(&weirv1.PipelineStatus{Pipeline: p}); strings.Contains(text, "logs") != (want != "") {
			t.Errorf("%s: %s", state, text)
		}
	}
}

func TestWhatNeverRanIsAtRestAndCanBeDeletedAtOnce(t *testing.T) {
	for state, want := range map[string]bool{"created": true, "stopped": true, "failed": true, "finished": true, "running": false, "stopping": false, "starting": false} {
		if settled(state) != want {
			t.Errorf("settled(%s) is %t", state, !want)
		}
	}
}

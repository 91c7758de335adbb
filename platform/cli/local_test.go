package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := writeFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// project has one case whose expected lines name one output.
func project(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "pipeline.yaml", "pipeline: p\n")
	write(t, dir, "testdata/day/input.jsonl", "{\"id\":\"a\",\"n\":1}\n\n{\"@watermark\":\"2026-01-05T10:00:00Z\"}\n{\"@input\":\"other\",\"id\":\"b\"}\n")
	write(t, dir, "testdata/day/expected.jsonl", "{\"id\":\"b\",\"n\":2.50}\n{\"@output\":\"side\",\"n\":10000000000000000001,\"id\":\"a\"}\n")
	return dir
}

// emitting is a RunTest that gives rows, whatever the input.
func emitting(rows ...TestRow) Local {
	return Local{RunTest: func(_ context.Context, o TestOptions) error {
		for _, r := range rows {
			o.Emit(r)
		}
		return nil
	}}
}

func TestATestCasePassesWhateverOrderAndSpelling(t *testing.T) {
	local := emitting(
		TestRow{Sink: "s2", Operator: "op", Output: "side", Line: []byte(`{"id":"a", "n":10000000000000000001}`)},
		TestRow{Sink: "s1", Operator: "op", Output: "out", Main: true, Line: []byte(`{"n":2.50,"id":"b"}`)})
	out, errs, exit := run(t, "", "", local, "test", project(t))
	if exit != 0 || !regexp.MustCompile(`^ok    day \(.*\)\n$`).MatchString(out) || errs != "" {
		t.Errorf("exit %d: %s%s", exit, out, errs)
	}
}

func TestADifferentTestCaseShowsWhatIsMissingAndWhatIsTooMuch(t *testing.T) {
	local := emitting(
		TestRow{Sink: "s2", Operator: "op", Output: "side", Line: []byte(`{"id":"a","n":10000000000000000002}`)},
		TestRow{Sink: "s1", Operator: "op", Output: "out", Main: true, Line: []byte(`{"n":2.50,"id":"b"}`)},
		TestRow{Sink: "s1", Operator: "op", Output: "out", Main: true, Line: []byte(`{"n":2.50,"id":"b"}`)})
	out, _, exit := run(t, "", "", local, "test", project(t))
	want := `    1 lines are missing (-), 2 came that are not expected (+):
    - side {"id":"a","n":10000000000000000001}
    + side {"id":"a","n":10000000000000000002}
    + {"id":"b","n":2.50}
`
	if exit != ExitRefused || !strings.HasPrefix(out, "FAIL  day") || !strings.HasSuffix(out, want) {
		t.Errorf("exit %d: %s", exit, out)
	}
}

func TestExpectedLinesCanBeWrittenAnew(t *testing.T) {
	dir := project(t)
	local := emitting(
		TestRow{Sink: "s2", Operator: "op", Output: "side", Line: []byte(`{}`)},
		TestRow{Sink: "s1", Operator: "op", Output: "out", Main: true, Line: []byte(`{"n":1}`)})
	if out, errs, exit := run(t, "", "", local, "test", dir, "--update"); exit != 0 {
		t.Fatal(out, errs)
	}
	got, err := os.ReadFile(filepath.Join(dir, "testdata/day/expected.jsonl"))
	if err != nil || string(got) != "{\"@output\":\"side\"}\n{\"n\":1}\n" {
		t.Errorf("%s%v", got, err)
	}
	if out, _, exit := run(t, "", "", local, "test", dir, "-o", "json"); exit != 0 || !strings.Contains(out, `"ok": true`) {
		t.Errorf("exit %d: %s", exit, out)
	}
}

func TestInputLinesBecomeStepsInOrder(t *testing.T) {
	var got []TestStep
	local := Local{RunTest: func(_ context.Context, o TestOptions) error { got = o.Steps; return errors.New("enough") }}
	run(t, "", "", local, "test", project(t))
	var text strings.Builder
	for _, s := range got {
		fmt.Fprintf(&text, "%d %q %s %v\n", s.LineNumber, s.Source, s.Record, s.Watermark.Format(time.TimeOnly))
	}
	want := "1 \"\" {\"id\":\"a\",\"n\":1} 00:00:00\n3 \"\"  10:00:00\n4 \"other\" {\"@input\":\"other\",\"id\":\"b\"} 00:00:00\n"
	if text.String() != want {
		t.Errorf("got\n%swant\n%s", text.String(), want)
	}
}

func TestAWrongMoveOfTimeIsRefusedWithItsPlace(t *testing.T) {
	dir := project(t)
	write(t, dir, "testdata/day/input.jsonl", "\n{\"@clock\":\"noon\"}\n")
	out, _, exit := run(t, "", "", emitting(), "test", dir)
	if exit != ExitRefused || !strings.Contains(out, `input.jsonl:2: want {"@clock": an RFC 3339 time} and nothing else`) {
		t.Errorf("exit %d: %s", exit, out)
	}
}

func TestAProjectWithoutCasesOrPipelineSaysWhatIsMissing(t *testing.T) {
	dir := t.TempDir()
	if _, errs, exit := run(t, "", "", emitting(), "test", dir); exit != ExitNotFound || !strings.Contains(errs, "no pipeline.yaml in") {
		t.Errorf("exit %d: %s", exit, errs)
	}
	write(t, dir, "pipeline.yaml", "")
	write(t, dir, "testdata/x/notes.txt", "")
	if _, errs, exit := run(t, "", "", emitting(), "test", dir); exit != ExitNotFound || !strings.Contains(errs, "no test cases in") {
		t.Errorf("exit %d: %s", exit, errs)
	}
}

func TestServerFlagsArriveAndReadinessIsOneLine(t *testing.T) {
	var got ServerOptions
	local := Local{RunServer: func(_ context.Context, o ServerOptions) error { got = o; o.Ready("http://127.0.0.1:9"); return nil }}
	out, errs, exit := run(t, "", "", local, "server", "--data-dir", "d", "--listen", "127.0.0.1:9", "--durability", "strict", "--peers", "a=h:1,b=h:2")
	if exit != 0 || errs != "" || out != "weir is ready at http://127.0.0.1:9\n" {
		t.Errorf("exit %d: %q %q", exit, out, errs)
	}
	if got.DataDir != "d" || got.Listen != "127.0.0.1:9" || got.Durability != Strict || len(got.RaftPeers) != 2 {
		t.Errorf("%+v", got)
	}
	for _, wrong := range [][]string{{"server"}, {"server", "--data-dir", "d", "--durability", "often"}, {"server", "--data-dir", "d", "--peers", "x"}} {
		if _, errs, exit := run(t, "", "", local, wrong...); exit != ExitUsage || !strings.Contains(errs, "hint:") {
			t.Errorf("%v: exit %d: %s", wrong, exit, errs)
		}
	}
}

func TestRunReadsAndWritesWhatTheFlagsName(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "p.yaml", "")
	write(t, dir, "f.jsonl", "from a file")
	local := Local{RunBounded: func(_ context.Context, o RunOptions) error {
		for _, name := range sortedKeys(o.Inputs) {
			in, err := o.Inputs[name].Open()
			if err != nil {
				return err
			}
			text, err := io.ReadAll(in)
			if err != nil {
				return err
			}
			fmt.Fprintf(o.Outputs["alerts"].W, "%s: %s\n", name, text)
			if err := in.Close(); err != nil {
				return err
			}
		}
		_, err := io.WriteString(o.Outputs[""].W, "rest\n")
		return err
	}}
	result := filepath.Join(dir, "out.jsonl")
	out, errs, exit := run(t, "", "from stdin", local, "run", filepath.Join(dir, "p.yaml"), "--input", "flights="+filepath.Join(dir, "f.jsonl"), "--input", "-", "--output", "alerts="+result, "--output", "-")
	text, err := os.ReadFile(result)
	if exit != 0 || out != "rest\n" || err != nil || !bytes.Equal(text, []byte(": from stdin\nflights: from a file\n")) {
		t.Errorf("exit %d: %q %q %q %v", exit, out, errs, text, err)
	}
	for want, args := range map[string][]string{
		"two inputs read standard input": {"-i", "a=-", "-i", "b=-"},
		"is given twice":                 {"-i", "a=-", "-i", "a=" + result},
		"no such file":                   {"-i", "a=none"},
		"has no name":                    {"--module", "x.wasm"},
	} {
		if _, errs, exit := run(t, "", "", local, append([]string{"run", filepath.Join(dir, "p.yaml")}, args...)...); exit == 0 || !strings.Contains(errs, want) {
			t.Errorf("%v: exit %d: %s", args, exit, errs)
		}
	}
}

func TestDevShowsRecordsAndEventsApart(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "pipeline.yaml", "")
	local := Local{RunDev: func(_ context.Context, o DevOptions) error {
		o.Say(DevEvent{Step: DevReady, Text: "http://127.0.0.1:9"})
		o.Say(DevEvent{Step: DevBuilt, Text: "p.wasm", Took: 1500 * time.Millisecond})
		o.Guest("info", "alert", "hello")
		o.Output("alerts", []byte(`{"a":1}`))
		return nil
	}}
	out, errs, exit := run(t, "", "", local, "dev", dir)
	if exit != 0 || out != "alerts {\"a\":1}\n" || errs != "ready http://127.0.0.1:9\nbuilt p.wasm (1.5s)\nalert info hello\n" {
		t.Errorf("exit %d: %q %q", exit, out, errs)
	}
}

func TestAFileThatIsRefusedIsShownWithItsLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p.yaml")
	write(t, filepath.Dir(path), "p.yaml", "pipeline: p\nsorces: {}\n")
	local := Local{RunBounded: func(context.Context, RunOptions) error {
		return fmt.Errorf("run: %w", &FileError{File: path, Problems: []*weirv1.Problem{{Message: `unknown field "sorces"`, Hint: `did you mean "sources"?`, Line: 2, Column: 1}}})
	}}
	_, errs, exit := run(t, "", "", local, "run", path)
	if want := path + ":2:1: error: unknown field \"sorces\"\n  sorces: {}\n  ^\nhint:  did you mean \"sources\"?\n"; exit != ExitRefused || errs != want {
		t.Errorf("exit %d: %s", exit, errs)
	}
}

func TestAServerThatOthersCanReachWantsProtection(t *testing.T) {
	var started ServerOptions
	local := Local{RunServer: func(_ context.Context, o ServerOptions) error { started = o; return nil }}
	for address, open := range map[string]bool{"127.0.0.1:7070": false, "localhost:7070": false, "[::1]:0": false, "0.0.0.0:7070": true, ":7070": true, "10.0.0.3:7070": true, "[::]:7070": true, "weir.example:7070": true} {
		started = ServerOptions{}
		_, errs, exit := run(t, "", "", local, "server", "--data-dir", t.TempDir(), "--listen", address)
		refused := exit == ExitUsage && started.Listen == "" && strings.Contains(errs, "--listen "+address) && strings.Contains(errs, "add --auth on")
		if refused != open || !open && (exit != 0 || errs != "") {
			t.Errorf("%s: exit %d, %q", address, exit, errs)
		}
	}
	if _, errs, exit := run(t, "", "", local, "server", "--data-dir", t.TempDir(), "--listen", ":7070", "--auth", "on", "--plain-http"); exit != 0 || started.Auth != "on" || !started.PlainHTTP {
		t.Errorf("exit %d, %+v: %s", exit, started, errs)
	}
	_, errs, exit := run(t, "", "", local, "server", "--data-dir", t.TempDir(), "--nats-listen", "0.0.0.0:4222")
	if exit != 0 || !strings.Contains(errs, "warning: --nats-listen 0.0.0.0:4222") {
		t.Errorf("an open port of NATS: exit %d, %q", exit, errs)
	}
}

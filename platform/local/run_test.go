package local

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/platform/batch"
)

// countSum is the module in C that keeps a count and a sum per key.
const countSum = "../../sdk/c/bench/count_sum.wasm"

const sums = `
pipeline: sums
module: count_sum
parallelism: 2
sources:
  in: {topic: in, format: json, columns: "key:int64,value:int64,pad:utf8"}
operators:
  sums: {function: count_sum, input: in}
sinks:
  out: {topic: out, input: sums, format: json}
`

// pipeline writes a pipeline file into a folder of its own.
func pipeline(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "p.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func lines(text string) Input {
	return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
}

// run gives what a bounded run wrote, by sink.
func run(t *testing.T, text string, inputs map[string]string) (map[string][]string, error) {
	t.Helper()
	out := map[string][]string{}
	o := Options{Pipeline: pipeline(t, text), Modules: map[string]string{"count_sum": countSum}, Inputs: map[string]Input{}}
	for name, in := range inputs {
		o.Inputs[name] = lines(in)
	}
	o.Write = func(sink string, line []byte) error {
		out[sink] = append(out[sink], string(line))
		return nil
	}
	err := Run(t.Context(), o)
	if live := batch.Live(); live != 0 {
		t.Errorf("%d batches or buffers live after the run", live)
	}
	return out, err
}

func TestARunCountsWhatItReadsAndSetsBadLinesAside(t *testing.T) {
	var in strings.Builder
	want := []string{}
	for i := range 3000 {
		fmt.Fprintf(&in, `{"key":%d,"value":%d,"pad":"x"}`+"\n", i%7, i)
		if i == 1500 {
			in.WriteString("{\"key\":\"seven\"}\n\n")
		}
	}
	count, sum := map[int]int{}, map[int]int{}
	for i := range 3000 {
		count[i%7]++
		sum[i%7] += i
		want = append(want, fmt.Sprintf(`{"key":%d,"count":%d,"sum":%d}`, i%7, count[i%7], sum[i%7]))
	}
	out, err := run(t, sums, map[string]string{"": in.String()})
	if err != nil {
		t.Fatal(err)
	}
	got := slices.Clone(out["out"])
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%d lines, want %d; first %q, want %q", len(got), len(want), got[:min(1, len(got))], want[0])
	}
	if dead := out[""]; len(dead) != 1 || !strings.Contains(dead[0], `"sequence":1502`) || !strings.Contains(dead[0], "seven") && !strings.Contains(dead[0], `"reason"`) {
		t.Errorf("dead letters are %q", dead)
	}
}

func TestABadLineFailsTheRunWhereThePipelineSaysSo(t *testing.T) {
	_, err := run(t, strings.Replace(sums, "parallelism: 2", "errors: fail", 1), map[string]string{"in": `{"key":1,"value":1,"pad":""}` + "\nnonsense\n"})
	if err == nil || !strings.Contains(err.Error(), "line 2 of source in") {
		t.Errorf("%v", err)
	}
}

func TestAPipelineThatCannotBePlannedIsRefusedWithFileAndLine(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"form":     {strings.Replace(sums, "operators:", "operatos:", 1), `p.yaml: line 7, column 1: unknown field "operatos" in a pipeline; did you mean "operators"?`},
		"names":    {strings.Replace(sums, "function: count_sum", "function: count_sun", 1), `p.yaml: line 8, column 20: module count_sum has no function "count_sun"; did you mean "count_sum"?`},
		"no yaml":  {"pipeline: [", "p.yaml: line 1"},
		"two lost": {strings.ReplaceAll(sums, "input: in}", "input: inn}"), `p.yaml: line 8, column 38: there is no source or operator "inn"; did you mean "in"?`},
	} {
		_, err := run(t, c.text, map[string]string{"": ""})
		var problems *ProblemsError
		if !errors.As(err, &problems) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v\nwant %s", name, err, c.want)
		}
	}
	if _, err := run(t, strings.Replace(sums, "module: count_sum", "module: lost.wasm", 1), map[string]string{"": ""}); err == nil || !strings.Contains(err.Error(), "read module lost") || !strings.Contains(err.Error(), "build it first") {
		t.Errorf("a module that is not there: %v", err)
	}
}

func TestInputsThatDoNotFitTheSourcesAreRefused(t *testing.T) {
	for _, c := range []struct {
		inputs map[string]string
		want   string
	}{
		{nil, "source in has no input; add --input in=FILE"},
		{map[string]string{"inn": ""}, `no source "inn"; did you mean "in"?`},
	} {
		if _, err := run(t, sums, c.inputs); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %s", c.inputs, err, c.want)
		}
	}
	failing := Options{
		Pipeline: pipeline(t, sums), Modules: map[string]string{"count_sum": countSum}, Write: func(string, []byte) error { return nil },
		Inputs: map[string]Input{"": func() (io.ReadCloser, error) { return nil, errors.New("no such file") }},
	}
	if err := Run(t.Context(), failing); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("%v", err)
	}
}

func TestAnOutputThatCannotBeWrittenEndsTheRun(t *testing.T) {
	o := Options{
		Pipeline: pipeline(t, sums), Modules: map[string]string{"count_sum": countSum},
		Inputs: map[string]Input{"": lines(`{"key":1,"value":1,"pad":""}`)},
		Write:  func(string, []byte) error { return errors.New("a broken pipe") },
	}
	if err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "a broken pipe") {
		t.Errorf("%v", err)
	}
}

func TestAFileOfCSVHasItsHeaderUnlessThePipelineSaysNo(t *testing.T) {
	const files = `
pipeline: files
sources:
  in: {file: in.csv, format: csv, columns: "a:int64,b:utf8"}
sinks:
  out: {file: out.jsonl, input: in, format: json, guarantee: at_least_once}
`
	want := []string{`{"a":1,"b":"x"}`, `{"a":2,"b":"y"}`}
	for text, in := range map[string]string{
		files: "b,a\nx,1\ny,2\n", // by the names of the header
		strings.Replace(files, `b:utf8"}`, `b:utf8", options: {header: no}}`, 1): "1,x\n2,y\n",
		strings.Replace(files, "file: in.csv", "topic: in", 1):                   "1,x\n2,y\n", // records of a topic have none
	} {
		out, err := run(t, text, map[string]string{"in": in})
		if err != nil || !slices.Equal(out["out"], want) || len(out[""]) > 0 {
			t.Errorf("%s\ngave %q and %v", text, out, err)
		}
	}
}

func TestAFileOfCSVIsWrittenWithOneHeader(t *testing.T) {
	const files = `
pipeline: files
parallelism: 3
module: count_sum
sources:
  in: {topic: in, format: json, columns: "key:int64,value:int64,pad:utf8"}
operators:
  sums: {function: count_sum, input: in}
sinks:
  out: {file: out.csv, input: sums, guarantee: at_least_once, format: csv}
`
	in := ""
	for i := range 9 {
		in += fmt.Sprintf(`{"key":%d,"value":1,"pad":""}`+"\n", i)
	}
	for text, first := range map[string]string{
		files: "key,count,sum",
		strings.Replace(files, "format: csv}", "format: csv, options: {header: no}}", 1): "",
		strings.Replace(files, "file: out.csv", "topic: out", 1):                         "",
	} {
		out, err := run(t, text, map[string]string{"in": in})
		if err != nil {
			t.Fatal(err)
		}
		rows := out["out"]
		if first != "" {
			if len(rows) == 0 || rows[0] != first {
				t.Fatalf("%q, want the first to be %s", rows, first)
			}
			rows = rows[1:]
		}
		if len(rows) != 9 || strings.Contains(strings.Join(rows, ""), "key") {
			t.Errorf("%s\ngave %q", text, rows)
		}
	}
}

func TestATestStepsThroughRecordsAndSaysWhereItFailed(t *testing.T) {
	path := pipeline(t, strings.Replace(sums, "module: count_sum", "errors: fail\nmodule: "+absolute(t, countSum), 1))
	var rows []string
	o := TestOptions{Pipeline: path, Emit: func(r Row) { rows = append(rows, r.Sink+" "+r.Output+" "+string(r.Line)) }}
	for i, rec := range []string{`{"key":1,"value":5,"pad":""}`, `{"key":2,"value":1,"pad":""}`, `{"key":1,"value":-2,"pad":""}`} {
		o.Steps = append(o.Steps, Step{Record: []byte(rec), Place: fmt.Sprint("case.jsonl:", i+1)})
	}
	o.Steps = append(o.Steps, Step{Clock: time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC), Place: "case.jsonl:4"})
	if err := Test(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if len(rows) != 3 || !strings.HasSuffix(rows[2], `{"key":1,"count":2,"sum":3}`) || !strings.HasPrefix(rows[0], "out ") {
		t.Errorf("rows are %q", rows)
	}
	o.Steps = append(o.Steps, Step{Record: []byte("nonsense"), Place: "case.jsonl:5"})
	if err := Test(t.Context(), o); err == nil || !strings.HasPrefix(err.Error(), "case.jsonl:5: ") {
		t.Errorf("%v", err)
	}
	if live := batch.Live(); live != 0 {
		t.Errorf("%d batches or buffers live in the end", live)
	}
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	p, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAPipelineOfFunctionsDoesNotRunToAnEnd(t *testing.T) {
	_, err := run(t, "pipeline: shop\nfunctions:\n  modules: [count_sum]\n", nil)
	if err == nil || !strings.Contains(err.Error(), "pipeline shop has stateful functions, which do not end with their input") || !strings.Contains(err.Error(), "weir pipeline apply") {
		t.Fatal(err)
	}
}

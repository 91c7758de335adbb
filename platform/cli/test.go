package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// Names within a case's folder.
const (
	casesFolder  = "testdata"
	inputFile    = "input.jsonl"
	expectedFile = "expected.jsonl"
)

func (a *app) testCommand() *cobra.Command {
	var (
		pattern, pipeline string
		update            bool
		o                 outputFormat
	)
	cmd := &cobra.Command{
		Use:   "test [DIR]",
		Short: "Compare a project's output with what is expected, through the real module under virtual time",
		Long: `Run a project's pipeline through its real module, under virtual time, over each case
in DIR/testdata, and compare what comes out with what is expected.

A case is a folder with input.jsonl (.gz is fine) and expected.jsonl. With several
sources, a line of input.jsonl names its own in "@input", or each source has a file
input.SOURCE.jsonl; the files are then read one after the other. A line
{"@watermark":"2026-01-05T10:00:00Z"} moves event time, one with "@clock" processing
time. A line of expected.jsonl names its output or sink in "@output", if it is not the
first; dead letters come out of "dead_letters". Lines are compared as JSON, without
regard to order, because only the order within a key is fixed.

The exit code is 4 if a case differs. --update writes expected.jsonl anew.`,
		Example: `  weir test
  weir test ./alert --run late
  weir test --update`,
		Args: atMostOne,
		RunE: func(cmd *cobra.Command, args []string) error {
			if a.env.Local.RunTest == nil {
				return errNotBuiltIn(cmd)
			}
			only, err := regexp.Compile(pattern)
			if err != nil {
				return usageError(fmt.Errorf("--run %q: %w", pattern, err), "it is a regular expression on names of cases")
			}
			dir, err := projectDir(args, pipeline)
			if err != nil {
				return err
			}
			if pipeline == "" {
				pipeline = filepath.Join(dir, pipelineFile)
			}
			cases, err := findCases(dir, only)
			if err != nil {
				return err
			}
			return a.runCases(cmd, dir, pipeline, cases, update, o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&pattern, "run", "", "only the cases whose name matches this regular expression")
	f.StringVar(&pipeline, "pipeline", "", "pipeline file (default: DIR/"+pipelineFile+")")
	f.BoolVar(&update, "update", false, "write what came out as what is expected")
	outputFlag(cmd, &o, formatTable, formatJSON)
	return cmd
}

// testCase is a folder of golden files.
type testCase struct {
	name   string
	dir    string
	inputs map[string]string // path by source; "" is the only one
}

func findCases(dir string, only *regexp.Regexp) ([]testCase, error) {
	root := filepath.Join(dir, casesFolder)
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, fmt.Errorf("find test cases: %w", err)
	}
	var cases []testCase
	for _, e := range entries {
		if !e.IsDir() || !only.MatchString(e.Name()) {
			continue
		}
		c := testCase{name: e.Name(), dir: filepath.Join(root, e.Name()), inputs: map[string]string{}}
		files, err := os.ReadDir(c.dir)
		if err != nil {
			return nil, fmt.Errorf("find test cases: %w", err)
		}
		for _, f := range files {
			plain := strings.TrimSuffix(f.Name(), ".gz")
			if plain == inputFile {
				c.inputs[""] = filepath.Join(c.dir, f.Name())
			} else if source, ok := strings.CutPrefix(plain, "input."); ok && strings.HasSuffix(source, ".jsonl") {
				c.inputs[strings.TrimSuffix(source, ".jsonl")] = filepath.Join(c.dir, f.Name())
			}
		}
		if len(c.inputs) > 0 {
			cases = append(cases, c)
		}
	}
	if len(cases) == 0 {
		return nil, fail(ExitNotFound, fmt.Errorf("no test cases in %s", root), "a case is a folder with %s and %s", inputFile, expectedFile)
	}
	return cases, nil
}

func (a *app) runCases(cmd *cobra.Command, dir, pipeline string, cases []testCase, update bool, o outputFormat) error {
	p, w := a.out(), a.env.Stdout
	bad := 0
	var j []byte
	for i, c := range cases {
		start := time.Now()
		line := a.startProgress(waiting("running case " + c.name))
		diff, err := a.runCase(cmd, dir, pipeline, c, update)
		line.end()
		if cmd.Context().Err() != nil {
			return cmd.Context().Err()
		}
		took := time.Since(start)
		if err != nil || diff != "" {
			bad++
		}
		if o == formatJSON {
			if i > 0 {
				j = append(j, ',')
			}
			j = appendText(append(j, `{"case":`...), c.name)
			j = append(j, fmt.Sprintf(`,"ok":%t,"took_ms":%d,"error":`, err == nil && diff == "", took.Milliseconds())...)
			if err != nil {
				j = appendText(j, explain(err).text)
			} else {
				j = appendText(j, "")
			}
			j = append(appendText(append(j, `,"diff":`...), diff), '}')
			continue
		}
		switch {
		case err != nil:
			f := explain(err)
			fmt.Fprintf(w, "%s  %s %s\n%s\n", p.red("FAIL"), c.name, p.dim("("+span(took)+")"), inset(f.text))
			if f.hint != "" {
				fmt.Fprintf(w, "    %s %s\n", p.bold("hint:"), f.hint)
			}
		case diff != "":
			fmt.Fprintf(w, "%s  %s %s\n%s\n", p.red("FAIL"), c.name, p.dim("("+span(took)+")"), inset(diff))
		default:
			fmt.Fprintf(w, "%s    %s %s\n", p.green("ok"), c.name, p.dim("("+span(took)+")"))
		}
	}
	if o == formatJSON {
		if err := indent(w, append(append([]byte{'['}, j...), ']')); err != nil {
			return err
		}
	}
	if bad == 0 {
		return nil
	}
	if o != formatJSON {
		a.confirm("%d of %d cases failed; if the new output is right: weir test --update", bad, len(cases))
	}
	return said(ExitRefused)
}

func inset(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n    ")
}

// runCase gives the difference between what is expected and what came out.
func (a *app) runCase(cmd *cobra.Command, dir, pipeline string, c testCase, update bool) (string, error) {
	golden := filepath.Join(c.dir, expectedFile)
	text, err := os.ReadFile(golden)
	if err != nil && !(update && errors.Is(err, os.ErrNotExist)) {
		return "", err
	}
	want, err := parseGolden(text)
	if err != nil && !update {
		return "", fmt.Errorf("%s: %w", golden, err)
	}
	steps, err := a.testSteps(c)
	if err != nil {
		return "", err
	}
	var rows []TestRow
	err = a.env.Local.RunTest(cmd.Context(), TestOptions{
		Dir: dir, Pipeline: pipeline, Steps: steps, Log: a.env.Stderr,
		Emit: func(r TestRow) {
			r.Line = bytes.Clone(r.Line)
			rows = append(rows, r)
		},
	})
	if err != nil {
		return "", err
	}
	got, err := goldenRows(rows, want)
	if err != nil {
		return "", err
	}
	if update {
		return "", os.WriteFile(golden, writeGolden(got), 0o644)
	}
	return compareGolden(want, got), nil
}

// sinksOf lists the names that rows came out under.
func sinksOf(rows []TestRow) []string {
	var names []string
	for _, r := range rows {
		if !slices.Contains(names, r.Sink) {
			names = append(names, r.Sink)
		}
	}
	return names
}

package weirtest

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Golden runs a folder's input.jsonl (or input.jsonl.gz) through the harness, ends the input, and compares all outputs with its expected.jsonl. The formats stand in the SDK's README;
// `weir test` runs the same folders through the real module.
func Golden(h *Harness, dir string) {
	h.t.Helper()
	GoldenFiles(h, filepath.Join(dir, "input.jsonl"), filepath.Join(dir, "expected.jsonl"))
}

// GoldenFiles is Golden with the names of the two files. Where one is not there, it is looked for with .gz behind its name.
func GoldenFiles(h *Harness, input, expected string) {
	h.t.Helper()
	if err := h.golden(input, expected); err != nil {
		h.t.Fatalf("golden %s: %v", input, err)
	}
}

func (h *Harness) golden(input, expected string) error {
	err := eachLine(input, h.inputLine)
	if err != nil {
		return err
	}
	h.Finish()
	var want []string
	err = eachLine(expected, func(line map[string]json.RawMessage) error {
		text, err := h.expectedLine(line)
		want = append(want, text)
		return err
	})
	if err != nil {
		return err
	}
	var got []string
	for i, o := range h.fn.Outputs {
		for _, r := range h.outputs[i] {
			got = append(got, lineOf(o.Name, o.cols, r.Values))
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	return difference(want, got)
}

func eachLine(path string, f func(map[string]json.RawMessage) error) error {
	data, err := os.ReadFile(path)
	switch {
	case strings.HasSuffix(path, ".gz"):
		data, err = readGzip(path)
	case os.IsNotExist(err):
		data, err = readGzip(path + ".gz")
	}
	if err != nil {
		return err
	}
	scanner := bufio.NewScanner(bytes.NewReader(data))
	scanner.Buffer(nil, 16<<20)
	for n := 1; scanner.Scan(); n++ {
		if len(bytes.TrimSpace(scanner.Bytes())) == 0 {
			continue
		}
		var line map[string]json.RawMessage
		err := json.Unmarshal(scanner.Bytes(), &line)
		if err == nil {
			err = f(line)
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %w", path, n, err)
		}
	}
	return scanner.Err()
}

func readGzip(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

func text(line map[string]json.RawMessage, field string) (string, bool, error) {
	raw, ok := line[field]
	if !ok {
		return "", false, nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", false, fmt.Errorf("%s: %w", field, err)
	}
	return s, true, nil
}

// inputLine queues a row, or does what a line without a row says.
func (h *Harness) inputLine(line map[string]json.RawMessage) error {
	for field, move := range map[string]func(time.Time){"@watermark": h.Advance, "@clock": h.AdvanceClock} {
		s, ok, err := text(line, field)
		if err != nil {
			return err
		}
		if ok {
			at, err := time.Parse(time.RFC3339Nano, s)
			if err != nil || len(line) > 1 {
				return fmt.Errorf("want {%q: an RFC 3339 time} and nothing else", field)
			}
			move(at)
			return nil
		}
	}
	name, ok, err := text(line, "@input")
	if err != nil {
		return err
	}
	if !ok {
		if len(h.fn.Inputs) > 1 {
			return fmt.Errorf("function %s has %d inputs: say which with \"@input\"", h.fn.Name, len(h.fn.Inputs))
		}
		name = h.fn.Inputs[0].Name
	}
	i := slices.IndexFunc(h.fn.Inputs, func(in inputSpec) bool { return in.Name == name })
	if i < 0 {
		return fmt.Errorf("function %s has no input %s", h.fn.Name, name)
	}
	values, err := valuesOf(h.fn.Inputs[i].cols, line)
	if err != nil {
		return err
	}
	h.queue(i, values, h.eventTime(i, values))
	return nil
}

// valuesOf reads a line's columns. Fields that are no columns are the topic's, not the function's.
func valuesOf(cols []column, line map[string]json.RawMessage) ([]any, error) {
	values := make([]any, len(cols))
	for i, c := range cols {
		v, err := fromJSON(c.typ, line[c.name])
		if err == nil && v == nil && !c.typ.null {
			err = fmt.Errorf("it is missing")
		}
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", c.name, err)
		}
		values[i] = v
	}
	return values, nil
}

// expectedLine brings a line into the form that lineOf has.
func (h *Harness) expectedLine(line map[string]json.RawMessage) (string, error) {
	name, ok, err := text(line, "@output")
	if err != nil {
		return "", err
	}
	if !ok && len(h.fn.Outputs) > 0 {
		name = h.fn.Outputs[0].Name
	}
	for _, o := range h.fn.Outputs {
		if o.Name == name {
			values, err := valuesOf(o.cols, line)
			return lineOf(name, o.cols, values), err
		}
	}
	return "", fmt.Errorf("function %s has no output %s", h.fn.Name, name)
}

func lineOf(output string, cols []column, values []any) string {
	b := appendText([]byte(`{"@output":`), output)
	for i, c := range cols {
		b = append(appendText(append(b, ','), c.name), ':')
		b = appendJSON(b, c.typ, values[i])
	}
	return string(append(b, '}'))
}

// difference names the first lines that are in one sorted list only.
func difference(want, got []string) error {
	const shown = 5
	var diff []string
	i, j := 0, 0
	count := 0
	note := func(sign, line string) {
		if count++; count <= shown {
			diff = append(diff, sign+line)
		}
	}
	for i < len(want) || j < len(got) {
		switch {
		case j == len(got) || i < len(want) && want[i] < got[j]:
			note("- ", want[i])
			i++
		case i == len(want) || got[j] < want[i]:
			note("+ ", got[j])
			j++
		default:
			i, j = i+1, j+1
		}
	}
	if count == 0 {
		return nil
	}
	return fmt.Errorf("%d expected lines, %d came; %d differ (- expected, + came):\n%s", len(want), len(got), count, strings.Join(diff, "\n"))
}

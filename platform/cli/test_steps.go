package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Names of fields in a case's input that are not the record's own.
const (
	inputField     = "@input"
	watermarkField = "@watermark"
	clockField     = "@clock"
)

// testSteps reads a case's input, file by file in the order of their names.
func (a *app) testSteps(c testCase) ([]TestStep, error) {
	var steps []TestStep
	for _, source := range sortedKeys(c.inputs) {
		in, err := a.open(c.inputs[source])
		if err != nil {
			return nil, err
		}
		more, err := readSteps(in, source, c.inputs[source])
		if err = errors.Join(err, in.Close()); err != nil {
			return nil, err
		}
		steps = append(steps, more...)
	}
	return steps, nil
}

func readSteps(in io.Reader, source, file string) ([]TestStep, error) {
	var steps []TestStep
	s := bufio.NewScanner(in)
	s.Buffer(nil, maxLine)
	for n := 1; s.Scan(); n++ {
		line := bytes.TrimSpace(s.Bytes())
		if len(line) == 0 {
			continue
		}
		step := TestStep{Source: source, File: file, LineNumber: n}
		if bytes.Contains(line, []byte(`"@`)) {
			if err := step.directive(line); err != nil {
				return nil, fail(ExitRefused, fmt.Errorf("%s:%d: %w", file, n, err), "see: weir test --help")
			}
		}
		if step.Watermark.IsZero() && step.Clock.IsZero() {
			step.Record = bytes.Clone(line)
		}
		steps = append(steps, step)
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return steps, nil
}

// directive reads the fields that begin with @.
func (s *TestStep) directive(line []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(line, &fields); err != nil {
		return nil //nolint:nilerr // not JSON: a record all the same, which the pipeline's format judges
	}
	if raw, ok := fields[inputField]; ok {
		if err := json.Unmarshal(raw, &s.Source); err != nil {
			return fmt.Errorf("%s is no text", inputField)
		}
	}
	for name, to := range map[string]*time.Time{watermarkField: &s.Watermark, clockField: &s.Clock} {
		raw, ok := fields[name]
		if !ok {
			continue
		}
		if err := json.Unmarshal(raw, to); err != nil || to.IsZero() || len(fields) > 1 {
			return fmt.Errorf("want {%q: an RFC 3339 time} and nothing else", name)
		}
	}
	return nil
}

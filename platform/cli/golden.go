package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// outputField names the output that an expected line belongs to.
const outputField = "@output"

// maxShown bounds how many differing lines of a case are shown.
const maxShown = 20

// goldenRow is an output line in comparable form: its fields without @output,
// names sorted at every level, numbers as they were written.
type goldenRow struct {
	output string
	canon  string
	line   []byte // as it came, for --update
}

func parseGolden(text []byte) ([]goldenRow, error) {
	var rows []goldenRow
	for i, line := range bytes.Split(text, []byte{'\n'}) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		r, err := parseGoldenLine(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		rows = append(rows, r)
	}
	return rows, nil
}

func parseGoldenLine(line []byte) (goldenRow, error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber() // 64-bit integers and decimals keep every digit
	var v any
	if err := d.Decode(&v); err != nil {
		return goldenRow{}, fmt.Errorf("not JSON: %w", err)
	}
	r := goldenRow{line: line}
	if m, ok := v.(map[string]any); ok {
		if s, ok := m[outputField].(string); ok {
			r.output = s
			delete(m, outputField)
		}
	}
	canon, err := json.Marshal(v) // sorts names
	r.canon = string(canon)
	return r, err
}

// goldenRows names each row as the expected lines do: by its output in the
// module, by its sink, or by operator and output. A line without a name belongs
// to the function's first output, or to the only sink.
func goldenRows(rows []TestRow, want []goldenRow) ([]goldenRow, error) {
	used := map[string]bool{}
	for _, w := range want {
		used[w.output] = true
	}
	alone := len(sinksOf(rows)) <= 1
	got := make([]goldenRow, 0, len(rows))
	for _, r := range rows {
		g, err := parseGoldenLine(r.Line)
		if err != nil {
			return nil, fmt.Errorf("output of sink %s: %w", r.Sink, err)
		}
		g.line = r.Line
		switch full := r.Operator + "." + r.Output; {
		case r.Sink == DeadLettersSink:
			g.output = DeadLettersSink // never takes the place of a row that is expected
		case used[r.Output]:
			g.output = r.Output
		case used[""] && r.Main:
			g.output = ""
		case used[r.Sink]:
			g.output = r.Sink
		case used[full]:
			g.output = full
		case alone:
			g.output = ""
		default:
			g.output = r.Sink
		}
		got = append(got, g)
	}
	return got, nil
}

// compareGolden lists what is missing (-) and what is too much (+).
func compareGolden(want, got []goldenRow) string {
	left := map[string]int{}
	for _, g := range got {
		left[g.output+"\x00"+g.canon]++
	}
	var diff []string
	for _, w := range want {
		k := w.output + "\x00" + w.canon
		if left[k] > 0 {
			left[k]--
			continue
		}
		diff = append(diff, "- "+w.label())
	}
	missing := len(diff)
	for _, g := range got {
		k := g.output + "\x00" + g.canon
		if left[k] > 0 {
			left[k]--
			diff = append(diff, "+ "+g.label())
		}
	}
	if len(diff) == 0 {
		return ""
	}
	head := fmt.Sprintf("%d lines are missing (-), %d came that are not expected (+):", missing, len(diff)-missing)
	if len(diff) > maxShown {
		more := len(diff) - maxShown
		diff = append(diff[:maxShown:maxShown], fmt.Sprintf("… and %d more", more))
	}
	return head + "\n" + strings.Join(diff, "\n")
}

func (r goldenRow) label() string {
	if r.output == "" {
		return r.canon
	}
	return r.output + " " + r.canon
}

// writeGolden is the text of expected.jsonl.
func writeGolden(rows []goldenRow) []byte {
	var b []byte
	for _, r := range rows {
		if r.output == "" || !bytes.HasPrefix(r.line, []byte{'{'}) {
			b = append(append(b, r.line...), '\n')
			continue
		}
		b = appendText(append(b, `{"`+outputField+`":`...), r.output)
		if rest := bytes.TrimSpace(r.line[1:]); !bytes.Equal(rest, []byte{'}'}) {
			b = append(b, ',')
		}
		b = append(append(b, bytes.TrimSpace(r.line[1:])...), '\n')
	}
	return b
}

package catalog

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write what the scripts give now into testdata")

// TestScriptsGiveTheViewsThatTheyName runs testdata/*.txt. A line is a command by
// its name in the log with its body, or `show KIND`; `#N` in a body is the digest
// number N. Indented lines are what came out.
func TestScriptsGiveTheViewsThatTheyName(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := runScript(t, string(want))
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			wantLines, gotLines := strings.Split(string(want), "\n"), strings.Split(got, "\n")
			for i := range min(len(wantLines), len(gotLines)) {
				if wantLines[i] != gotLines[i] {
					t.Fatalf("%s:%d\n got %s\nwant %s", file, i+1, gotLines[i], wantLines[i])
				}
			}
			if len(wantLines) != len(gotLines) {
				t.Fatalf("%s: %d lines came out, want %d", file, len(gotLines), len(wantLines))
			}
		})
	}
}

func runScript(t *testing.T, script string) string {
	t.Helper()
	var out strings.Builder
	s := New()
	at := 0
	for line := range strings.Lines(script) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "    ") {
			continue
		}
		out.WriteString(line + "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		word, body, _ := strings.Cut(line, " ")
		if word == "show" {
			out.WriteString(show(t, s, body))
			continue
		}
		at++
		c, ok := newCommand(word)
		if !ok {
			t.Fatalf("no command %q", word)
		}
		for n := range 10 {
			body = strings.ReplaceAll(body, fmt.Sprintf(`"#%d"`, n), `"`+testDigest(n).String()+`"`)
		}
		if err := unmarshal([]byte(body), c); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		next, result, err := s.Apply(c)
		s = next
		if err != nil {
			fmt.Fprintf(&out, "    refused: %s\n", shorten(err.Error()))
			continue
		}
		fmt.Fprintf(&out, "    %s\n", shorten(describe(result)))
	}
	return out.String()
}

func describe(r Result) string {
	text := fmt.Sprintf("revision %d", r.Revision)
	if r.Unchanged {
		text += ", unchanged"
	}
	if r.UID != "" {
		text += ", " + r.UID
	}
	if r.Number != 0 {
		text += fmt.Sprintf(", number %d", r.Number)
	}
	if r.Range != (Range{}) {
		text += fmt.Sprintf(", ids %d-%d", r.Range.First, r.Range.Last)
	}
	for _, c := range r.Dropped {
		text += fmt.Sprintf(", dropped %d", c.ID)
	}
	for _, f := range r.Refused {
		text += fmt.Sprintf("; refused %d: %v", f.ID, f.Err)
	}
	return text
}

func show(t *testing.T, s *State, kind string) string {
	t.Helper()
	var list []any
	switch kind {
	case "topics":
		for v := range s.Topics("") {
			list = append(list, v)
		}
	case "modules":
		for v := range s.Modules("") {
			list = append(list, v)
		}
	case "pipelines":
		for v := range s.Pipelines("") {
			list = append(list, v)
		}
	case "jobs":
		for v := range s.Pipelines("") {
			list = append(list, v.Job)
		}
	case "savepoints":
		for v := range s.Savepoints() {
			list = append(list, v)
		}
	case "workers":
		for v := range s.Workers() {
			list = append(list, v)
		}
	case "nodes":
		for v := range s.Nodes() {
			list = append(list, v)
		}
	case "tokens":
		for v := range s.Tokens() {
			list = append(list, v)
		}
	case "namespaces":
		for v := range s.Namespaces() {
			list = append(list, v)
		}
	case "secrets":
		for v := range s.Secrets("") {
			list = append(list, v)
		}
	case "settings":
		list = append(list, s.Settings)
	default:
		t.Fatalf("show %s: unknown", kind)
	}
	var out strings.Builder
	for _, v := range list {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "    %s\n", shorten(string(b)))
	}
	return out.String()
}

func testDigest(n int) Digest {
	var d Digest
	d[0], d[31] = byte(n+1), byte(n+1)
	return d
}

// shorten writes the scripts' digests as #N again.
func shorten(text string) string {
	for n := range 10 {
		text = strings.ReplaceAll(text, testDigest(n).String(), fmt.Sprintf("#%d", n))
	}
	return text
}

package cli

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write what the commands print into testdata/transcripts")

// run is one command line against a server.
func run(t *testing.T, url, stdin string, local Local, args ...string) (stdout, stderr string, exit int) {
	t.Helper()
	var out, errs bytes.Buffer
	env := Env{
		Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs, Local: local,
		Build: Build{Version: "v1", Revision: "abc", Go: "go1.26"},
		Getenv: func(name string) string {
			if name == "WEIR_SERVER" {
				return url
			}
			return ""
		},
	}
	exit = Main(t.Context(), args, env)
	return out.String(), errs.String(), exit
}

// A transcript is lines "$ weir ARGS [< FILE]", each followed by what the command
// printed: standard output, standard error behind "! ", and the exit code if it is not 0.
func TestTranscripts(t *testing.T) {
	paths, err := filepath.Glob("testdata/transcripts/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			_, url := newFake(t)
			var got strings.Builder
			for line := range strings.Lines(string(want)) {
				line = strings.TrimRight(line, "\n")
				if strings.HasPrefix(line, "#") {
					got.WriteString(line + "\n")
				}
				command, ok := strings.CutPrefix(line, "$ weir ")
				if !ok {
					continue
				}
				got.WriteString(line + "\n")
				got.WriteString(transcribe(t, url, command))
			}
			if *rewrite {
				if err := os.WriteFile(path, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got.String() != string(want) {
				t.Errorf("%s differs; got:\n%s", path, got.String())
			}
		})
	}
}

func transcribe(t *testing.T, url, command string) string {
	t.Helper()
	stdin := ""
	if c, file, ok := strings.Cut(command, " < "); ok {
		text, err := os.ReadFile(filepath.Join("testdata", strings.TrimSpace(file)))
		if err != nil {
			t.Fatal(err)
		}
		command, stdin = c, string(text)
	}
	out, errs, exit := run(t, url, stdin, Local{}, strings.Fields(command)...)
	var b strings.Builder
	b.WriteString(timing.ReplaceAllString(out, "TIME"))
	for line := range strings.Lines(timing.ReplaceAllString(errs, "TIME")) {
		b.WriteString("! " + line)
	}
	if exit != 0 {
		b.WriteString("exit " + string(rune('0'+exit)) + "\n")
	}
	return strings.ReplaceAll(b.String(), url, "URL") + "\n"
}

// timing is what differs from run to run.
var timing = regexp.MustCompile(`in [0-9.]+[mµ]?s \([0-9,]+/s\)|"seconds":[0-9.]+`)

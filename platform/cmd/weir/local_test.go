package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirstream/weir/platform/cli"
	"github.com/weirstream/weir/platform/cli/scaffold"
)

// offline keeps the go command from the network: a project brings all it needs.
// -trimpath lets builds in different folders share the cache.
var offline = append(os.Environ(), "GOPROXY=off", "GOFLAGS=-mod=mod -trimpath", "GOWORK=off")

func sh(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, offline
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s in %s: %v\n%s", name, strings.Join(args, " "), dir, err, out)
	}
}

// weir runs a command line of the program in this process.
func weir(t *testing.T, stdin string, args ...string) (stdout, stderr string, exit int) {
	t.Helper()
	var out, errs bytes.Buffer
	exit = cli.Main(t.Context(), args, cli.Env{
		Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs,
		Getenv: func(string) string { return "" }, Build: build(), Local: inProcess(),
	})
	return out.String(), errs.String(), exit
}

func TestEveryTemplateBuildsAndTestsAtOnce(t *testing.T) {
	for _, lang := range scaffold.Languages {
		for _, kind := range scaffold.Templates {
			t.Run(lang+" "+kind, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "shop")
				if _, errs, exit := weir(t, "", "init", "--lang", lang, "--template", kind, dir); exit != 0 {
					t.Fatal(errs)
				}
				sh(t, dir, "./build.sh")
				if lang == "go" {
					sh(t, dir, "go", "vet", ".")
					sh(t, dir, "go", "test", ".")
				}
				if out, errs, exit := weir(t, "", "test", dir); exit != 0 || !strings.HasPrefix(out, "ok    first") {
					t.Errorf("exit %d: %s%s", exit, out, errs)
				}
			})
		}
	}
}

// durations is examples/02-durations with the committed module in C.
func durations(t *testing.T) string {
	t.Helper()
	const example = "../../../examples/02-durations"
	file, err := os.ReadFile(filepath.Join(example, "pipeline.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(example)); err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(file), "go/durations.wasm", "c/durations.wasm", 1)
	if err := os.WriteFile(filepath.Join(dir, "pipeline.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestTheExampleGivesWhatItsModelExpects(t *testing.T) {
	if out, errs, exit := weir(t, "", "test", durations(t)); exit != 0 {
		t.Errorf("exit %d: %s%s", exit, out, errs)
	}
}

func TestABoundedRunTellsDeadLettersApart(t *testing.T) {
	dir := durations(t)
	gaveUp := filepath.Join(dir, "gave-up.jsonl")
	input := `{"id":"a","kind":"START","at":"2026-01-05T10:00:00Z"}
{"id":"b","kind":"START","at":"2026-01-05T10:00:00Z"}
{"id":"a","kind":"END","at":"2026-01-05T10:05:00Z"}
`
	out, errs, exit := weir(t, input, "run", filepath.Join(dir, "pipeline.yaml"), "--input", "-", "--output", "-", "--output", "gave_up="+gaveUp)
	if want := `{"id":"a","start":"2026-01-05T10:00:00Z","end":"2026-01-05T10:05:00Z","seconds":300}` + "\n"; exit != 0 || out != want {
		t.Errorf("exit %d: %s%s", exit, out, errs)
	}
	if text, err := os.ReadFile(gaveUp); err != nil || string(text) != `{"id":"b","start":"2026-01-05T10:00:00Z"}`+"\n" {
		t.Errorf("%s%v", text, err)
	}
}

// shared is a buffer that the command writes while the test reads.
type shared struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *shared) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// wait wants a text within a deadline.
func (s *shared) wait(t *testing.T, want string) {
	t.Helper()
	have := ""
	for end := time.Now().Add(time.Minute); time.Now().Before(end); <-time.After(20 * time.Millisecond) {
		if have = s.text(); strings.Contains(have, want) {
			return
		}
	}
	t.Fatalf("%q did not come; what came:\n%s", want, have)
}

func TestDevKeepsStateThroughAnEdit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "clicks")
	if _, errs, exit := weir(t, "", "init", "--lang", "c", "--template", "keyed", dir); exit != 0 {
		t.Fatal(errs)
	}
	input := filepath.Join(dir, "testdata", "first", "input.jsonl")
	ctx, cancel := context.WithCancel(t.Context())
	var out, errs shared
	ended := make(chan int, 1)
	go func() {
		ended <- cli.Main(ctx, []string{"dev", dir, "--topic", "clicks=" + input}, cli.Env{
			Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs,
			Getenv: func(string) string { return "" }, Build: build(), Local: inProcess(),
		})
	}()
	out.wait(t, `counts {"user":"ann","clicks":3}`)

	source := filepath.Join(dir, "main.c")
	text, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(source, bytes.Replace(text, []byte("s->clicks++"), []byte("s->clicks += 10"), 1), 0o644); err != nil {
		t.Fatal(err)
	}
	errs.wait(t, "applied clicks revision 2")
	f, err := os.OpenFile(input, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	// The first clicks may still meet the old revision, which counts by one.
	added := regexp.MustCompile(`"user":"ann","clicks":1[3-9]}`)
	for end := time.Now().Add(time.Minute); !added.MatchString(out.text()); <-time.After(time.Second) {
		if time.Now().After(end) {
			t.Fatalf("the new revision does not go on from the old one's state:\n%s", out.text())
		}
		if _, err := f.WriteString(`{"user":"ann","page":"/late","at":"2026-01-05T09:03:00Z"}` + "\n"); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	cancel()
	if exit := <-ended; exit != 0 {
		t.Errorf("exit %d", exit)
	}
}

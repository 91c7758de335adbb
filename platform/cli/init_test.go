package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirstream/weir/platform/cli/scaffold"
)

// offline keeps the go command from the network: a project brings all it needs.
var offline = append(os.Environ(), "GOPROXY=off", "GOFLAGS=-mod=mod -trimpath", "GOWORK=off") // -trimpath lets the builds share the cache

func sh(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, offline
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s %s in %s: %v\n%s", name, strings.Join(args, " "), dir, err, out)
	}
}

func TestEveryTemplateBuildsAndTestsAtOnce(t *testing.T) {
	for _, lang := range scaffold.Languages {
		for _, kind := range scaffold.Templates {
			t.Run(lang+" "+kind, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "My Project")
				if _, errs, exit := run(t, "", "", Local{}, "init", "--lang", lang, "--template", kind, dir); exit != 0 || !strings.Contains(errs, "created my-project") {
					t.Fatal(errs)
				}
				sh(t, dir, "./build.sh")
				wasm, err := os.ReadFile(filepath.Join(dir, "my-project.wasm"))
				if err != nil || !strings.HasPrefix(string(wasm), "\x00asm") {
					t.Fatalf("the module was not built: %v", err)
				}
				if lang == "go" {
					sh(t, dir, "go", "vet", ".")
					sh(t, dir, "go", "test", ".")
				}
				for _, name := range []string{"README.md", "pipeline.yaml", ".gitignore", "weir-sdk/LICENSE", "testdata/first/expected.jsonl"} {
					if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || strings.Contains(string(text), "{{") {
						t.Errorf("%s: %v, or it is not filled in", name, err)
					}
				}
			})
		}
	}
}

func TestInitRefusesWhatIsNotEmptyOrNotKnown(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "mine.txt", "")
	for want, args := range map[string][]string{
		"is not empty":               {dir},
		`unknown language "rust"`:    {"--lang", "rust", dir + "/x"},
		`unknown template "windows"`: {"--template", "windows", dir + "/x"},
		"gives no name":              {dir + "/---"},
		"DIR is missing":             {},
	} {
		if _, errs, exit := run(t, "", "", Local{}, append([]string{"init"}, args...)...); exit == 0 || !strings.Contains(errs, want) {
			t.Errorf("%v: exit %d: %s", args, exit, errs)
		}
	}
}

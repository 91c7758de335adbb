package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirstream/weir/platform/cli/scaffold"
)

// That each project also builds and passes its tests is held by platform/cmd/weir.
func TestEveryTemplateIsFilledIn(t *testing.T) {
	for _, lang := range scaffold.Languages {
		for _, kind := range scaffold.Templates {
			dir := filepath.Join(t.TempDir(), "My Project")
			if _, errs, exit := run(t, "", "", Local{}, "init", "--lang", lang, "--template", kind, dir); exit != 0 || !strings.Contains(errs, "created my-project") {
				t.Fatal(errs)
			}
			for _, name := range []string{"README.md", "pipeline.yaml", ".gitignore", "build.sh", "weir-sdk/LICENSE", "testdata/first/input.jsonl", "testdata/first/expected.jsonl"} {
				if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || strings.Contains(string(text), "{{") {
					t.Errorf("%s %s: %s: %v, or it is not filled in", lang, kind, name, err)
				}
			}
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

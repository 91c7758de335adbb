package sdkbundle

import (
	"io/fs"
	"testing"

	"github.com/weirstream/weir/platform/cli/sdkbundle/pack"
)

func TestTheArchivesHoldTheSDKsAsTheyAre(t *testing.T) {
	for _, lang := range pack.Languages {
		want, err := pack.Files("../../..", lang)
		if err != nil {
			t.Fatal(err)
		}
		bundle, err := Open(lang)
		if err != nil {
			t.Fatal(err)
		}
		have := 0
		err = fs.WalkDir(bundle, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			have++
			got, err := fs.ReadFile(bundle, name)
			if err == nil && string(got) != string(want[name]) {
				t.Errorf("%s: %s is not as in sdk/%s; run: go generate ./platform/cli/sdkbundle", lang, name, lang)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if have != len(want) {
			t.Errorf("%s: %d files, want %d; run: go generate ./platform/cli/sdkbundle", lang, have, len(want))
		}
	}
}

func TestAnUnknownLanguageIsRefused(t *testing.T) {
	if _, err := Open("cobol"); err == nil || err.Error() != `no SDK for language "cobol": have go, c` {
		t.Error(err)
	}
}

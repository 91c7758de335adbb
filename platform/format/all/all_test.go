package all

import (
	"testing"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/format"
)

func TestEveryFormatReadsAndWrites(t *testing.T) {
	s := schema.MustParse("value:binary?")
	for _, name := range Names() {
		if _, err := NewDecoder(name, s, format.Options{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := NewEncoder(name, s, format.Options{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnUnknownFormatIsRefusedWithThoseThereAre(t *testing.T) {
	_, err := NewDecoder("xml", schema.Raw(), format.Options{})
	if err == nil || err.Error() != `unknown format "xml": have [json csv raw]` {
		t.Error(err)
	}
}

package main

import (
	"testing"

	"github.com/weirstream/weir/sdk/go/weirtest"
)

func TestAFunctionReadsAnAssetOfItsBundle(t *testing.T) {
	h := weirtest.New(t, "named", weirtest.Asset("other.bin", []byte{1}), weirtest.Asset("names.txt", []byte("ada grace\n")))
	h.Send("in", Record{Key: 0}, Record{Key: 1}, Record{Key: 2})
	got := weirtest.Rows[Named](h, "out")
	want := []Named{{0, "ada"}, {1, "grace"}, {2, "ada"}}
	if len(got) != len(want) || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("got %v, want %v", got, want)
	}
}

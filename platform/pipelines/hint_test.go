package pipelines

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/raftmeta/catalog"
)

func TestAJobThatLostDataIsToldBothWaysOut(t *testing.T) {
	err := fmt.Errorf("read split t/0: %w", &connector.DataLost{Split: "t/0", From: 3, To: 9, Reason: "purged"})
	p := &catalog.Pipeline{Name: "flights"}
	got := errorHint(p, &catalog.JobError{Class: catalog.ErrorUser, Text: err.Error()})
	for _, want := range []string{"options: {on_data_lost: skip}", "weir pipeline resume flights --from-checkpoint"} {
		if !strings.Contains(got, want) {
			t.Errorf("the hint %q lacks %q", got, want)
		}
	}
	if other := errorHint(p, &catalog.JobError{Class: catalog.ErrorUser, Text: "trap"}); strings.Contains(other, "on_data_lost") {
		t.Errorf("a trap gets the hint %q", other)
	}
}

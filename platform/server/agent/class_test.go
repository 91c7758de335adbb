package agent

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/weirstream/weir/abi/key"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/operator/native"
	"github.com/weirstream/weir/platform/operator/source"
	"github.com/weirstream/weir/platform/operator/udf"
	"github.com/weirstream/weir/platform/runtime"
	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/raftmeta/catalog"
)

func TestAFailureHasTheClassOfWhoCanMendIt(t *testing.T) {
	for _, c := range []struct {
		err  error
		want catalog.ErrorClass
	}{
		{&source.RecordError{}, catalog.ErrorUser},
		{&native.RowError{Text: "a negative count"}, catalog.ErrorUser},
		{&udf.UserError{Text: "a row was refused"}, catalog.ErrorUser},
		{&key.TooLongError{Row: 3, Bytes: 5000}, catalog.ErrorUser},
		{&connector.DataLost{}, catalog.ErrorUser},
		{&snapshot.DamageError{}, catalog.ErrorUser},
		{connector.ErrInDoubt, catalog.ErrorUser},
		{connector.ErrPermanent, catalog.ErrorUser},
		{&runtime.PanicError{Value: "index out of range"}, catalog.ErrorBug},
		{blob.ErrFull, catalog.ErrorRetryable},
		{context.DeadlineExceeded, catalog.ErrorRetryable},
		{context.Canceled, catalog.ErrorRetryable},
		{errors.New("connection refused"), catalog.ErrorRetryable},
		// The user's comes first: closing after it may well fail too.
		{errors.Join(&native.RowError{}, &runtime.PanicError{}), catalog.ErrorUser},
	} {
		wrapped := fmt.Errorf("operator x: %w", c.err)
		if got := classOf(wrapped); got != c.want {
			t.Errorf("%T %v is %s, want %s", c.err, c.err, got, c.want)
		}
	}
}

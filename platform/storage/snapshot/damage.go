package snapshot

import (
	"fmt"

	"github.com/weirstream/weir/platform/storage/state"
)

// DamageError names the place of bytes that are not what was written.
type DamageError struct {
	Object   string // the file
	Operator string
	Block    int // of a segment; -1: not in a block
	Offset   int64
	Reason   string
}

func (e *DamageError) Error() string {
	where := "object " + e.Object
	if e.Operator != "" {
		where += ", operator " + e.Operator
	}
	if e.Block >= 0 {
		where += fmt.Sprintf(", block %d", e.Block)
	}
	return fmt.Sprintf("%s at byte %d: %s: %s", where, e.Offset, e.Reason,
		"restore the file from a copy, or resume the pipeline from another checkpoint")
}

// Unwrap makes it a state.ErrDamaged.
func (e *DamageError) Unwrap() error { return state.ErrDamaged }

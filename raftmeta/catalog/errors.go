package catalog

import (
	"errors"
	"fmt"
)

// Sentinels that callers branch on. Every refusal wraps one of them, names the
// thing and says the way out.
var (
	ErrNotFound = errors.New("not found")
	ErrExists   = errors.New("exists already")
	ErrConflict = errors.New("conflict")
	ErrInUse    = errors.New("in use")
	ErrInvalid  = errors.New("invalid")
	// ErrStale refuses what comes from an attempt, a leader or a worker that is over.
	ErrStale = errors.New("stale")
	// ErrUnpublished refuses what has to wait until the last committed checkpoint's output is visible.
	ErrUnpublished = errors.New("not published yet")
	ErrTooLarge    = errors.New("too large")
	// ErrLimit refuses what a namespace may not have.
	ErrLimit = errors.New("limit of the namespace")
	// ErrUnknownCommand and ErrNewer mean that another node runs a later version.
	ErrUnknownCommand = errors.New("unknown command")
	ErrNewer          = errors.New("written by a newer version")
	ErrDamaged        = errors.New("damaged")
)

// IllegalTransitionError refuses a step that is not in the table of job states.
type IllegalTransitionError struct {
	Pipeline string
	From, To JobState
}

func (e *IllegalTransitionError) Error() string {
	return fmt.Sprintf("job of pipeline %s cannot go from %s to %s (allowed: %v)", e.Pipeline, e.From, e.To, Next(e.From))
}

// Unwrap makes an illegal transition an ErrConflict.
func (e *IllegalTransitionError) Unwrap() error { return ErrConflict }

func refuse(kind error, format string, args ...any) error {
	return fmt.Errorf("%w: %w", fmt.Errorf(format, args...), kind)
}

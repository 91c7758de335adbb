package connector

import (
	"errors"
	"fmt"
)

// Guarantee says what a sink promises about its output.
type Guarantee string

// The guarantees.
const (
	// ExactlyOnce: output becomes visible when its checkpoint is committed, once.
	ExactlyOnce Guarantee = "exactly_once"
	// AtLeastOnce: output becomes visible at once, and again after a failure.
	AtLeastOnce Guarantee = "at_least_once"
)

// ErrInDoubt says that nothing outside tells whether a transaction is visible
// already. Only the catalog's Published can decide; without it the job stops,
// and the user decides.
var ErrInDoubt = errors.New("cannot tell whether the transaction is published")

// Doubt is what a user has decided about output that is in doubt.
type Doubt string

// The decisions. They touch only the parts of a transaction of which nothing
// tells whether they are visible; the others are rolled forward as ever.
const (
	Undecided       Doubt = ""                 // Publish reports ErrInDoubt
	AssumePublished Doubt = "assume_published" // they are left out: lost if they never were visible
	PublishAgain    Doubt = "publish_again"    // they are published: twice if they were visible
)

// ErrPermanent marks failures that trying again does not help.
var ErrPermanent = errors.New("trying again does not help")

// LostPolicy says what a reader does when what it should read is gone.
type LostPolicy string

// The policies on data_lost.
const (
	FailOnLoss LostPolicy = "fail" // Next returns *DataLost
	SkipLoss   LostPolicy = "skip" // reads on behind the gap and says so in the log
)

// Bound says whether a source ends.
type Bound string

// The bounds.
const (
	Unbounded Bound = "unbounded" // waits for more for ever
	UntilEnd  Bound = "until_end" // ends behind what was there when it was opened
)

// Validate refuses other words than the two.
func (g Guarantee) Validate() error {
	if g != ExactlyOnce && g != AtLeastOnce {
		return fmt.Errorf("guarantee %q: choose %s or %s", g, ExactlyOnce, AtLeastOnce)
	}
	return nil
}

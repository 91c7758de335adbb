// Package remote carries elements between tasks of different worker processes.
// It must not know what an operator is, nor who decides where tasks run.
package remote

import (
	"fmt"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/runtime/exchange/local"
)

// Attempt names what a connection belongs to; a receiver refuses any other.
type Attempt struct {
	UID     string
	Attempt uint64
}

func (a Attempt) String() string { return fmt.Sprintf("%s/%d", a.UID, a.Attempt) }

// Channel names the receiving end: a channel of the inbox of a task.
type Channel struct {
	Stage  uint16
	Task   int
	Number int
}

func (c Channel) String() string { return fmt.Sprintf("%d.%d[%d]", c.Stage, c.Task, c.Number) }

// Inlet is where the elements of a channel go, and the columns of its batches.
type Inlet struct {
	Inbox  *local.Inbox
	Schema *schema.Schema
}

// Package cluster is how a worker and whoever leads speak with each other. The
// leader's side is a Desk: it takes workers in, tells each what it holds, and
// hands its reports to the scheduler. The worker's side is a Session: it finds
// the leader, keeps the connection and the lease, and stops the worker's tasks
// by itself when the lease lapses. Between them stands Leader, which a Desk is in
// the same process and a Client is over the network. The package must not know
// how tasks run nor what the scheduler decides.
package cluster

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/weirstream/weir/raftmeta/catalog"
	"github.com/weirstream/weir/scheduler"
)

// Protocol is the version of what is spoken here; OldestProtocol is the oldest
// that a leader still takes in, one version back.
const (
	Protocol       = 1
	OldestProtocol = 1
)

// Errors that the other side branches on.
var (
	// ErrNotLeader: ask another controller.
	ErrNotLeader = errors.New("this controller does not lead")
	// ErrUnknownWorker: the registration is over; join again.
	ErrUnknownWorker = errors.New("the worker is not registered any more")
	// ErrNotConnected: a report without the connection that it belongs to.
	ErrNotConnected = errors.New("the worker has no open connection to this leader")
	// ErrRefused: joining again would be refused again.
	ErrRefused = errors.New("the worker was refused")
)

// Joining is a process that wants to take tasks.
type Joining struct {
	ID       string
	Address  string // URL where other workers reach its tasks
	Node     string // the machine, for locality
	Slots    int
	Version  string
	Protocol int
}

// Joined is what a worker is told about its cluster.
type Joined struct {
	Epoch       uint64 // of the registration; every later word carries it
	Cluster     string // id
	Controllers []string
	// NATSURL and BlobURL are where log and objects are; empty: the worker must know by itself.
	NATSURL string
	BlobURL string
	Strict  bool // the log is synced always
	// ExchangeKey is what workers show to each other.
	ExchangeKey string
}

// Word is what a leader says to one worker. An empty one only shows that the leader lives.
type Word struct {
	Update  *Update
	Trigger *scheduler.Trigger
	Abort   *scheduler.Abort
	Again   bool // report anew what still holds: the leader begins with nothing
}

// Update says what a worker holds. With Resync, what is not named is held no longer.
type Update struct {
	Resync   bool
	Assigned []Assigned
	Gone     []string // uids
}

// Assigned is a pipeline with slots on the worker, and where its other slots are.
type Assigned struct {
	Pipeline *catalog.Pipeline
	Workers  map[uint64]string // address by epoch, of every worker of the job
	// Guests are the limits of its namespace on guests in this process.
	Guests catalog.GuestLimits
}

// Report is what a worker says; the leader's answer renews the lease from the
// moment at which it was sent.
type Report struct {
	Epoch    uint64
	Progress []scheduler.Progress
	Events   []scheduler.Event
	Measures []Measure
	Lines    []Line
	Jobs     []JobNumbers // nil: none are due
}

// Measure is how long a worker's tasks took for a checkpoint.
type Measure struct {
	UID           string
	Checkpoint    uint64
	Align, Freeze time.Duration // the longest of its tasks
}

// Line is a log line of a pipeline.
type Line struct {
	Pipeline string
	Time     time.Time
	Level    slog.Level
	Operator string
	Task     int
	Text     string
}

// Leader is whoever leads, as a worker sees it.
type Leader interface {
	Join(ctx context.Context, j Joining) (Joined, error)
	// Follow is the worker's connection: hear is called for every word, one at a
	// time, until ctx ends, the connection breaks or hear fails.
	Follow(ctx context.Context, epoch uint64, hear func(Word) error) error
	Report(ctx context.Context, r Report) error
	// Drain asks that the worker's tasks are given to others.
	Drain(ctx context.Context, epoch uint64) error
	// Leave ends the registration at once.
	Leave(ctx context.Context, epoch uint64, reason string) error
}

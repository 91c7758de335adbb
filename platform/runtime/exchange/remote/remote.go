// Package remote carries elements between tasks of different worker processes:
// one connection for each pair of workers and attempt, on the worker's one port,
// with all channels between them.
//
// A connection begins as a request for Path with an upgrade to Protocol, whose
// headers name both workers and the attempt. From then on it is frames of abi's
// section 7, from the sender:
//
//	 0        4    5     6        8       12     16        24       32
//	+--------+----+-----+--------+-------+------+---------+--------+------------
//	| size   |kind|flags|sequence|channel| rows | attempt | value  | body
//	+--------+----+-----+--------+-------+------+---------+--------+------------
//	 batch      1  parts  n                rows                     block, times, kinds, hashes, origin
//	 watermark  2         n                status           time
//	 barrier    3         n                                 id      u32 actions, u32 0, u64 attempt
//	 end        4         n
//	 open       6                                                   u32 stage, u32 task, u32 number, u32 0, u64 schema's fingerprint
//	 ping       8
//
// and from the receiver credits (5: rows elements of value bytes were handled),
// pings, and at the worst a refusal (7: a text), after which it closes. The sender
// numbers channels from 0 as it opens them. The sequence counts the elements of a
// channel, from 0, and wraps.
//
// A channel may have local.Credits elements and WindowBytes bytes on the way or
// unhandled, and no more. So whoever reads a connection always finds room in the
// inbox and never waits: a slow task holds back those who send to it, and no other
// channel of the connection. What both ends know is not said again: a batch goes
// out as the block of its columns, and is used where it arrived.
//
// The package must not know what an operator is, nor who decides where tasks run.
package remote

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/auth"
	"github.com/weirstream/weir/platform/runtime/exchange/local"
)

// Where and what the exchange speaks.
const (
	Path     = auth.InternalPath + "exchange"
	Protocol = "weir-exchange-1"
)

// Limits of a channel and of a connection.
const (
	// WindowBytes is what a channel may have on the way: 100 ms at 40 MB/s. The
	// credits of the inbox bound small batches earlier. One element alone may be larger.
	WindowBytes = 4 << 20
	// MaxPieceBytes is the size above which a batch is sent in pieces, so that the
	// receiver works while the rest is on the way.
	MaxPieceBytes = WindowBytes / 2
	// MaxFlushBytes is written at once; the peer must take it within DeadAfter.
	MaxFlushBytes = 1 << 20
	// MaxChannels is how many channels a connection may have.
	MaxChannels = 1 << 16
	// PingEvery is how often an idle end shows that it lives.
	PingEvery = 500 * time.Millisecond
	// DeadAfter is how long an end may be silent, or take nothing. It is below a
	// worker's lease of 3 s, so that a cut is known before tasks are placed anew.
	DeadAfter = 2 * time.Second
	// OpenWait is how long a receiver lets a connection wait for its attempt.
	OpenWait = 2 * time.Second
	// MaxWaiting is how many connections may wait so.
	MaxWaiting = 1024
	// RetryEvery is the pause after a dial that may succeed later.
	RetryEvery = 100 * time.Millisecond
	// MaxRemembered is of how many pipelines the newest attempt is kept after its end.
	MaxRemembered = 4096

	maxRefusalBytes = 1 << 10
	refusalWait     = 250 * time.Millisecond // that the sender has to read it
	readAhead       = 32 << 10               // small frames share a read; the bulk of a large one goes straight to its place
	coalesceBytes   = 4 << 10                // frames up to it are copied together, larger ones written from where they are
	scratchBytes    = 64 << 10               // of frames copied together
)

var (
	// ErrLost says that a connection broke, and what was on it is lost: the attempt has to end.
	ErrLost = errors.New("connection to another worker lost")
	// ErrSuperseded says that the attempt is over at the receiver, for good.
	ErrSuperseded = errors.New("a newer attempt has begun")
	// ErrOtherWorker says that the address is another worker's by now, for good.
	ErrOtherWorker = errors.New("the address belongs to another worker")
	// ErrProtocol is wrapped by every refusal of what the other end said.
	ErrProtocol = errors.New("exchange protocol violated")
)

// Options is what both ends need.
type Options struct {
	Log *slog.Logger
	// Self gives this worker's epoch, by which others address it.
	Self func() uint64
	// TLS gives the dialling side's configuration, for the files as they are then; nil: without TLS.
	TLS func() *tls.Config
	// Authorization gives the header of that name; nil or empty: none.
	Authorization func() string

	wrap func(net.Conn) net.Conn // for tests that break connections
}

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

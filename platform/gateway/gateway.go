// Package gateway is how the outside reaches stateful functions: it stores
// messages to them before it says so, makes calls and waits for the answers, and
// tells what functions there are. It must not know how functions run, nor how
// requests reach it.
package gateway

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/weirstream/weir/platform/functions"
	"github.com/weirstream/weir/platform/nearest"
	"github.com/weirstream/weir/platform/pipelines"
	"github.com/weirstream/weir/platform/statereader"
	"github.com/weirstream/weir/platform/topics"
	"github.com/weirstream/weir/raftmeta"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// Limits of requests.
const (
	MaxMessages     = 10_000  // of one request
	MaxBytes        = 4 << 20 // of one request's ids, type names and values
	MaxKeyBytes     = 256     // of an idempotency key
	MaxPendingCalls = 10_000  // that wait at a time
	DefaultTimeout  = 10 * time.Second
	MaxTimeout      = 5 * time.Minute
	storeLimit      = 10 * time.Second // for the log to take messages
	maxStateEntries = 10_000           // of an address in one answer
)

// ErrNoAnswer says that a function has not answered in time.
var ErrNoAnswer = errors.New("no answer in time")

// ErrBusy says that as many calls wait as may.
var ErrBusy = errors.New("too many calls wait")

// ErrNotRunning says that nobody would answer, because the pipeline stands still.
var ErrNotRunning = errors.New("the pipeline does not run")

// ErrUnread says that stored answers cannot be read at the moment.
var ErrUnread = errors.New("stored answers cannot be read at the moment; call again")

// ErrClosed says that the gateway has ended.
var ErrClosed = errors.New("the gateway is closed")

// Options is what a gateway needs.
type Options struct {
	Node      *raftmeta.Node
	Topics    *topics.Service
	Pipelines *pipelines.Service
	State     *statereader.Service
	Log       *slog.Logger
	Clock     func() time.Time
}

// Numbers are what a gateway has done.
type Numbers struct {
	Sent, Calls, Answers, Timeouts uint64
	Waiting                        int
}

// Gateway stores messages and waits for answers.
type Gateway struct {
	options Options
	id      string // hexadecimal, of this process
	replies *nats.Subscription

	sent, calls, answers, timeouts atomic.Uint64

	mu        sync.Mutex                 // guards what follows
	waiting   map[string][]chan<- answer // by the call's token
	pending   int                        // calls that wait
	followers map[string]*follower       // by pipeline uid
	storers   map[string]*storer         // by pipeline uid
	closed    bool
	tasks     sync.WaitGroup
	ending    context.Context //nolint:containedctx // it ends with Close
	end       context.CancelFunc
}

// answer is what a call waits for: a reply, or why none can come.
type answer struct {
	reply functions.Reply
	err   error
}

// New makes a gateway, which listens for answers until Close.
func New(o Options) (*Gateway, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	g := &Gateway{options: o, id: token(), waiting: map[string][]chan<- answer{}, followers: map[string]*follower{}, storers: map[string]*storer{}}
	g.ending, g.end = context.WithCancel(context.Background())
	var err error
	g.replies, err = o.Topics.Conn().Subscribe(functions.ReplySubject(g.id), func(m *nats.Msg) {
		r, err := functions.ParseReply(m.Data)
		if err != nil {
			g.options.Log.Warn("something that is no answer came to where answers come", "error", err)
			return
		}
		g.deliver(r)
	})
	if err != nil {
		return nil, fmt.Errorf("listen for answers of functions: %w", err)
	}
	// Answers are small and taken at once; one that is dropped is a timeout.
	if err := g.replies.SetPendingLimits(-1, -1); err != nil {
		return nil, fmt.Errorf("listen for answers of functions: %w", err)
	}
	return g, nil
}

// Close ends all calls that wait. A second time it does nothing.
func (g *Gateway) Close() error {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return nil
	}
	g.closed = true
	for _, list := range g.waiting {
		for _, c := range list {
			offer(c, answer{err: ErrClosed})
		}
	}
	clear(g.waiting)
	g.mu.Unlock()
	g.end()
	g.tasks.Wait()
	return g.replies.Unsubscribe()
}

// Numbers tells what the gateway has done so far.
func (g *Gateway) Numbers() Numbers {
	g.mu.Lock()
	defer g.mu.Unlock()
	return Numbers{Sent: g.sent.Load(), Calls: g.calls.Load(), Answers: g.answers.Load(), Timeouts: g.timeouts.Load(), Waiting: g.pending}
}

// hinted is an error with what to do next.
type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }

// Hint is what to do next.
func (h *hinted) Hint() string { return h.hint }

func hint(err error, text string, args ...any) error { return &hinted{err, fmt.Sprintf(text, args...)} }

func refuse(kind error, format string, args ...any) error {
	return fmt.Errorf("%w: %w", fmt.Errorf(format, args...), kind)
}

// pipelineOf finds the pipeline that has a type, or names the type that was probably meant.
func (g *Gateway) pipelineOf(ctx context.Context, what, namespace, name string) (*catalog.Pipeline, error) {
	if err := functions.CheckType(name); err != nil {
		return nil, refuse(catalog.ErrInvalid, "%s: %w", what, err)
	}
	p, ok, err := g.options.Pipelines.WithType(ctx, namespace, name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if ok {
		return p, nil
	}
	known, err := g.options.Pipelines.Types(ctx, namespace)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	best, least := "", max(3, len(name)/3)
	for _, t := range known {
		if d := nearest.Distance(name, t.Name); d < least {
			best, least = t.Name, d
		}
	}
	text := "weir function list shows those that there are; weir pipeline apply FILE brings one"
	if best != "" {
		text = fmt.Sprintf("did you mean %s? %s", best, text)
	}
	return nil, hint(refuse(catalog.ErrNotFound, "%s: no pipeline in namespace %s has functions of type %s", what, namespace, name), "%s", text)
}

// token is a name that nobody guesses.
func token() string {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic(err) // the operating system has no randomness: nothing can go on
	}
	return hex.EncodeToString(b[:])
}

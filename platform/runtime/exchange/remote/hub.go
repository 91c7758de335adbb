package remote

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/weirstream/weir/platform/upgrade"
)

// Headers of the handshake. Epochs, and not addresses, say who is meant: an
// address may be another process's by now.
const (
	headerTo       = "Weir-Exchange-To"
	headerFrom     = "Weir-Exchange-From"
	headerPipeline = "Weir-Exchange-Pipeline"
	headerAttempt  = "Weir-Exchange-Attempt"
)

// The answers that a dialler tells apart.
const (
	statusSuperseded  = http.StatusGone
	statusOtherWorker = http.StatusMisdirectedRequest
	statusNotYet      = http.StatusServiceUnavailable
)

// Hub is the receiving side of a worker process.
type Hub struct {
	options Options

	mu       sync.Mutex // guards what follows
	attempts map[string]*attempt
	newest   map[string]uint64 // attempts that have been open here
	changed  chan struct{}     // closed, and made anew, when an attempt opens
	waiting  int
	closed   bool
}

// attempt is one that is open here.
type attempt struct {
	id      Attempt
	inlets  map[Channel]Inlet
	failed  func(error)
	running sync.WaitGroup // connections

	mu    sync.Mutex // guards what follows
	over  bool
	conns map[net.Conn]struct{}
	taken map[Channel]bool // channels that have a connection, or had one
}

// NewHub makes a hub that lets nothing in yet.
func NewHub(o Options) *Hub {
	return &Hub{options: o, attempts: map[string]*attempt{}, newest: map[string]uint64{}, changed: make(chan struct{})}
}

// Open lets the channels of an attempt in from now on, and no more those of an
// earlier attempt of the same pipeline. failed is told, once for each connection,
// when one breaks before all its channels have ended, or before it is sure which
// they are; it must not wait for close.
// close cuts the connections and returns when nothing touches the inboxes any more.
func (h *Hub) Open(a Attempt, inlets map[Channel]Inlet, failed func(error)) (close func()) {
	now := &attempt{id: a, inlets: inlets, failed: failed, conns: map[net.Conn]struct{}{}, taken: map[Channel]bool{}}
	h.mu.Lock()
	old := h.attempts[a.UID]
	if h.closed || a.Attempt <= h.newest[a.UID] {
		old, now.over = nil, true
	} else {
		h.attempts[a.UID] = now
		h.remember(a)
		wake(h)
	}
	h.mu.Unlock()
	if old != nil {
		old.end()
	}
	if now.over {
		failed(fmt.Errorf("exchange of %s: %w here", a, ErrSuperseded))
		return func() {}
	}
	return func() {
		h.mu.Lock()
		if h.attempts[a.UID] == now {
			delete(h.attempts, a.UID)
		}
		h.mu.Unlock()
		now.end()
	}
}

func wake(h *Hub) {
	close(h.changed)
	h.changed = make(chan struct{})
}

// remember notes the newest attempt. One that is forgotten is not open either: a
// straggler of it waits in vain, and is never let in.
func (h *Hub) remember(a Attempt) {
	if len(h.newest) >= MaxRemembered {
		for uid := range h.newest {
			if h.attempts[uid] == nil {
				delete(h.newest, uid)
				break
			}
		}
	}
	h.newest[a.UID] = a.Attempt
}

// end cuts the attempt's connections and waits for them.
func (a *attempt) end() {
	a.mu.Lock()
	a.over = true
	for c := range a.conns {
		cut(c)
	}
	a.mu.Unlock()
	a.running.Wait()
}

// take gives a channel to a connection, once.
func (a *attempt) take(c Channel) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.taken[c] {
		return false
	}
	a.taken[c] = true
	return true
}

// allTaken tells whether every channel has been opened. One that has not may have
// been about to, by a connection that broke.
func (a *attempt) allTaken() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.taken) == len(a.inlets)
}

// Close ends every attempt and lets no other in.
func (h *Hub) Close() {
	h.mu.Lock()
	h.closed = true
	var open []*attempt
	for _, a := range h.attempts {
		open = append(open, a)
	}
	clear(h.attempts)
	wake(h)
	h.mu.Unlock()
	for _, a := range open {
		a.end()
	}
}

// refusal is an answer to a handshake.
type refusal struct {
	status int
	text   string
}

// ServeHTTP takes a connection from another worker and returns when it ends.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	from, id, refused := h.handshake(r)
	if refused == nil {
		var a *attempt
		if a, refused = h.await(r.Context(), id); refused == nil {
			defer a.running.Done()
			h.serve(w, r, a, from)
			return
		}
	}
	http.Error(w, refused.text, refused.status)
}

func (h *Hub) handshake(r *http.Request) (from uint64, a Attempt, refused *refusal) {
	number := func(name string) uint64 {
		n, err := strconv.ParseUint(r.Header.Get(name), 10, 64)
		if err != nil && refused == nil {
			refused = &refusal{http.StatusBadRequest, fmt.Sprintf("header %s: %q is no number", name, r.Header.Get(name))}
		}
		return n
	}
	to := number(headerTo)
	from = number(headerFrom)
	a = Attempt{UID: r.Header.Get(headerPipeline), Attempt: number(headerAttempt)}
	if self := h.options.Self(); refused == nil && to != self {
		refused = &refusal{statusOtherWorker, fmt.Sprintf("here is the worker of epoch %d, not %d", self, to)}
	}
	return from, a, refused
}

// await waits a while until the attempt is open here, and counts the connection
// among those that run.
func (h *Hub) await(ctx context.Context, id Attempt) (*attempt, *refusal) {
	ctx, cancel := context.WithTimeout(ctx, OpenWait)
	defer cancel()
	for waited := false; ; waited = true {
		h.mu.Lock()
		if waited {
			h.waiting--
		}
		newest := h.newest[id.UID]
		if a := h.attempts[id.UID]; a != nil && a.id == id {
			a.running.Add(1)
			h.mu.Unlock()
			return a, nil
		}
		changed, full := h.changed, h.waiting >= MaxWaiting
		switch {
		case h.closed:
			h.mu.Unlock()
			return nil, &refusal{statusNotYet, "this worker is going"}
		case id.Attempt <= newest:
			h.mu.Unlock()
			return nil, &refusal{statusSuperseded, fmt.Sprintf("attempt %d of pipeline %s is over: %d was the last here", id.Attempt, id.UID, newest)}
		case full || ctx.Err() != nil:
			h.mu.Unlock()
			return nil, &refusal{statusNotYet, fmt.Sprintf("attempt %d of pipeline %s has not begun here", id.Attempt, id.UID)}
		}
		h.waiting++
		h.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

func (h *Hub) serve(w http.ResponseWriter, r *http.Request, a *attempt, from uint64) {
	conn, err := upgrade.Accept(w, r, Protocol)
	if err != nil {
		h.options.Log.Debug("exchange: no connection", "from", from, "attempt", a.id.String(), "error", err)
		return
	}
	defer cut(conn)
	if h.options.wrap != nil {
		conn = h.options.wrap(conn)
	}
	a.mu.Lock()
	over := a.over
	if !over {
		a.conns[conn] = struct{}{}
	}
	a.mu.Unlock()
	if over {
		return
	}
	in := &intake{attempt: a, conn: conn, from: from, wake: make(chan struct{}, 1)}
	err = in.run()
	a.mu.Lock()
	delete(a.conns, conn)
	over = a.over
	a.mu.Unlock()
	if err != nil && !over {
		a.failed(fmt.Errorf("exchange of %s from worker of epoch %d: %w", a.id, from, err))
	}
}

// lost says that a connection broke by err, unless it was refused for what it carried.
func lost(err error) error {
	if errors.Is(err, ErrProtocol) || errors.Is(err, ErrLost) {
		return err
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return fmt.Errorf("%w: silent for %s", ErrLost, time.Duration(DeadAfter))
	}
	return fmt.Errorf("%w: %w", ErrLost, err)
}

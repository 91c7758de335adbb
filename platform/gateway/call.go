package gateway

import (
	"context"
	"fmt"
	"slices"
	"time"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/functions"
	"github.com/weirstream/weir/platform/topics"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// Call sends a message whose caller is the call, and waits for what is sent to that
// caller first. Without committed the answer comes as soon as the function has
// given it: after a crash the function may do its work again, and then what it
// tells may be another answer. With committed it is in the topic of replies, as
// part of the checkpoint that has the function's state.
func (g *Gateway) Call(ctx context.Context, r *weirv1.CallRequest) (*weirv1.CallResponse, error) {
	m := r.GetMessage()
	what := "call " + addressText(m)
	timeout := DefaultTimeout
	if ms := r.GetTimeoutMs(); ms > 0 {
		timeout = time.Duration(ms) * time.Millisecond
	}
	if timeout > MaxTimeout {
		return nil, hint(refuse(catalog.ErrInvalid, "%s: a timeout of %s, the limit is %s", what, timeout, MaxTimeout), "for longer work send a message, and have the answer sent to an egress")
	}
	if err := checkKey(what, r.GetIdempotencyKey()); err != nil {
		return nil, err
	}
	if err := checkMessage(what, m); err != nil {
		return nil, err
	}
	p, err := g.pipelineOf(ctx, what, topics.Namespace(r.GetNamespace()), m.GetType())
	if err != nil {
		return nil, err
	}
	if p.Desired != catalog.DesiredRunning || p.Job.State == catalog.JobFailed {
		return nil, hint(refuse(ErrNotRunning, "%s: nobody would answer: pipeline %s is %s", what, p.Name, p.Job.State),
			"weir pipeline status %s tells why; a message can be sent all the same, and is delivered when it runs: weir function send", p.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	reply, err := g.exchange(ctx, p, r)
	if err != nil {
		return nil, g.failed(ctx, what, p, timeout, err)
	}
	g.answers.Add(1)
	if reply.TooLarge > 0 {
		return nil, refuse(catalog.ErrTooLarge, "%s: its answer has %d bytes, more than one message of NATS takes", what, reply.TooLarge)
	}
	return &weirv1.CallResponse{Type: reply.From.Type, Id: reply.From.ID, Typename: reply.Typename, Value: reply.Value}, nil
}

// failed says why there is no answer.
func (g *Gateway) failed(ctx context.Context, what string, p *catalog.Pipeline, timeout time.Duration, err error) error {
	if ctx.Err() != context.DeadlineExceeded { //nolint:errorlint // Err gives it as it is
		return fmt.Errorf("%s: %w", what, err)
	}
	g.timeouts.Add(1)
	return hint(fmt.Errorf("%s: %w: %s have passed; the message is stored, and the function may still do its work", what, ErrNoAnswer, timeout),
		"a call with --idempotency-key that comes again is not made twice but given its answer; weir pipeline status %s tells how its pipeline does", p.Name)
}

// exchange stores the call's message and waits.
func (g *Gateway) exchange(ctx context.Context, p *catalog.Pipeline, r *weirv1.CallRequest) (functions.Reply, error) {
	id := functions.CallID{Way: functions.AtOnce, Gateway: g.id, Call: token()}
	key := r.GetIdempotencyKey()
	switch {
	case key != "":
		// The token comes from the key, so that whoever calls again waits for the same answer.
		id.Way, id.Call = functions.Keyed, keyToken(p.UID+"/"+key)
	case r.GetCommitted():
		id.Way = functions.Committed
	}
	if key != "" && r.GetCommitted() {
		id.Way = functions.Committed
	}
	answers := make(chan answer, 1)
	waiting := id.Call
	if r.GetCommitted() {
		waiting = committedPrefix + id.Call
	}
	if err := g.wait(waiting, answers); err != nil {
		return functions.Reply{}, err
	}
	defer g.give(waiting, answers)
	if r.GetCommitted() {
		// From before the message is stored, so that its answer cannot be missed.
		release, err := g.follow(ctx, p)
		if err != nil {
			return functions.Reply{}, err
		}
		defer release()
	}
	duplicate, err := g.put(ctx, p, []*weirv1.FunctionMessage{r.GetMessage()}, id, messageID('c', key))
	if err != nil {
		return functions.Reply{}, err
	}
	g.calls.Add(1)
	if duplicate {
		// The first call's answer may have come already, to whoever made it.
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		if err := g.lookBack(ctx, p, id.Call, answers); err != nil {
			return functions.Reply{}, err
		}
	}
	select {
	case a := <-answers:
		return a.reply, a.err
	case <-ctx.Done():
		return functions.Reply{}, ctx.Err()
	}
}

// committedPrefix begins the names under which calls wait that take stored answers alone.
const committedPrefix = "committed "

// wait has answers to a call given to a channel.
func (g *Gateway) wait(name string, c chan<- answer) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closed:
		return ErrClosed
	case g.pending >= MaxPendingCalls:
		return hint(fmt.Errorf("%w: %d, the limit", ErrBusy, MaxPendingCalls), "call again in a moment; messages that need no answer can be sent: weir function send")
	}
	g.pending++
	g.waiting[name] = append(g.waiting[name], c)
	return nil
}

// give ends the waiting of a channel.
func (g *Gateway) give(name string, c chan<- answer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pending--
	list := slices.DeleteFunc(g.waiting[name], func(other chan<- answer) bool { return other == c })
	if len(list) == 0 {
		delete(g.waiting, name)
		return
	}
	g.waiting[name] = list
}

// deliver gives an answer that came at once to the calls that wait for it. The
// first one counts: what a function answers besides is passed over.
func (g *Gateway) deliver(r functions.Reply) {
	call, err := functions.ParseCallID(r.Call)
	if err != nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.waiting[call.Call] {
		offer(c, answer{reply: r})
	}
}

// deliverStored is deliver for an answer that is committed.
func (g *Gateway) deliverStored(call functions.CallID, r functions.Reply) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, name := range [...]string{call.Call, committedPrefix + call.Call} {
		for _, c := range g.waiting[name] {
			offer(c, answer{reply: r})
		}
	}
}

// offer gives an answer unless there is one already.
func offer(c chan<- answer, a answer) {
	select {
	case c <- a:
	default:
	}
}

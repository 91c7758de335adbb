package fetch

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/functions"
	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/operator/async"
	"github.com/weirstream/weir/platform/storage/state"
)

// ErrDamaged says that a request that waits cannot be read.
var ErrDamaged = errors.New("waiting request is damaged")

const addressesPerStep = 1024

// index is the timer that every address with requests has, always past: who
// restores the state finds by it what is under way.
var index = state.Timer{Kind: state.EventTime, Time: element.MinTime + 1}

// Operator makes requests and keeps each in state until its answer is out.
type Operator struct {
	ctx    *operator.Context
	caller *caller
	keyer  *functions.Keyer
	slots  []state.Slot
	calls  *async.Calls[result]
	queue  []job
	bytes  int64 // of what waits or is under way
	out    *batch.Builder
}

// job is a request by its place in state. The key stands for the slot, which
// need not be the same after a checkpoint.
type job struct {
	key    []byte
	hash   uint64
	number uint64
	size   int64
	req    *request
}

type result struct {
	job
	answer answer
}

// New makes the operator.
func New() *Operator { return &Operator{} }

// Open makes again what was under way.
func (o *Operator) Open(ctx *operator.Context) (err error) {
	o.ctx = ctx
	var c Config
	if err := json.Unmarshal(ctx.Config, &c); err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	if c.MaxInFlight == 0 {
		c.MaxInFlight = DefaultInFlight
	}
	o.caller = newCaller(c.Allow)
	o.calls = async.New[result](min(c.MaxInFlight, MaxInFlight), ctx.Wake)
	o.out = batch.NewBuilder(functions.Message)
	if o.keyer, err = functions.NewKeyer(functions.Request, "caller_type", "caller_id"); err != nil {
		return err
	}
	return o.resume()
}

func (o *Operator) resume() error {
	var waiting, some []state.Firing
	for {
		if some = o.ctx.State.Due(state.EventTime, index.Time, addressesPerStep, some); len(some) == 0 {
			break
		}
		waiting = append(waiting, some...)
	}
	for _, f := range waiting {
		key, hash := o.ctx.State.Key(f.Slot)
		key = bytes.Clone(key)
		for sub, value := range o.ctx.State.Scan(f.Slot, stateRequests, nil) {
			r := &request{}
			if err := json.Unmarshal(value, r); err != nil || len(sub) != 8 {
				return errors.Join(ErrDamaged, err)
			}
			o.enqueue(job{key: key, hash: hash, number: binary.BigEndian.Uint64(sub), size: int64(len(value)), req: r})
		}
	}
	for _, f := range waiting {
		o.ctx.State.SetTimer(f.Slot, index)
	}
	o.start()
	return nil
}

func (o *Operator) enqueue(j job) {
	o.queue = append(o.queue, j)
	o.bytes += j.size
}

// start makes as many calls as there is room for.
func (o *Operator) start() {
	for len(o.queue) > 0 && o.calls.Room() {
		j := o.queue[0]
		o.queue[0] = job{}
		o.queue = o.queue[1:]
		// The same request has the same key, also when it is made again after a crash.
		key := url.QueryEscape(j.req.Caller.String()) + "/" + strconv.FormatUint(j.number, 10)
		o.calls.Start(func(ctx context.Context) result { return result{j, o.caller.call(ctx, j.req, key)} })
	}
}

// Process stores requests and makes them.
func (o *Operator) Process(_ int, b *batch.Batch) error {
	defer b.Release()
	if err := o.keyer.Encode(b); err != nil {
		return err
	}
	o.slots = o.ctx.State.Resolve(state.Keys{Bytes: o.keyer.Bytes, Offsets: o.keyer.Offsets}, o.keyer.Hashes, o.slots[:0])
	for i, slot := range o.slots {
		r := readRequest(b, b.Row(i))
		value, err := json.Marshal(r)
		if err != nil {
			return err
		}
		if len(value) > state.MaxValueBytes {
			r.Body, r.Refused = nil, fmt.Sprintf("a request of %d bytes, the limit is %d", len(value), state.MaxValueBytes)
			if value, err = json.Marshal(r); err != nil || len(value) > state.MaxValueBytes {
				r.Payload, r.Headers, r.URL = nil, nil, "" // nothing of it can be kept
				value, _ = json.Marshal(r)
			}
		}
		next := o.ctx.State.Mutable(slot, stateNext, 8)
		number := binary.LittleEndian.Uint64(next)
		binary.LittleEndian.PutUint64(next, number+1)
		sub := binary.BigEndian.AppendUint64(nil, number)
		if err := o.ctx.State.PutEntry(slot, stateRequests, sub, value); err != nil {
			return err
		}
		o.ctx.State.SetTimer(slot, index)
		key, hash := o.ctx.State.Key(slot)
		o.enqueue(job{key: bytes.Clone(key), hash: hash, number: number, size: int64(len(value)), req: r})
	}
	o.start()
	return nil
}

// Woken gives answers to those who asked.
func (o *Operator) Woken() error {
	was := o.Braking()
	for _, r := range o.calls.Take() {
		if err := o.answer(r); err != nil {
			return err
		}
	}
	o.start()
	if was && !o.Braking() {
		o.ctx.Wake()
	}
	if o.out.Len() == 0 {
		return nil
	}
	return o.ctx.Output.Emit(0, o.out.Finish("", 0))
}

func (o *Operator) answer(r result) error {
	if r.answer.Error != "" && o.ending() {
		return nil // given up with the task, not by the server
	}
	value, err := json.Marshal(r.answer)
	if err == nil && len(value) > functions.MaxValueBytes {
		a := answer{Handler: r.answer.Handler, Payload: r.answer.Payload, Status: r.answer.Status, Error: fmt.Sprintf("an answer of %d bytes as a message, the limit is %d", len(value), functions.MaxValueBytes)}
		value, err = json.Marshal(a)
	}
	if err != nil {
		return err
	}
	slot := o.ctx.State.Resolve(state.Keys{Bytes: r.key, Offsets: []int32{0, int32(len(r.key))}}, []uint64{r.hash}, o.slots[:0])[0]
	o.ctx.State.DeleteEntry(slot, stateRequests, binary.BigEndian.AppendUint64(nil, r.number))
	o.bytes -= r.size
	more := false
	for range o.ctx.State.Scan(slot, stateRequests, nil) {
		more = true
		break
	}
	if !more {
		o.ctx.State.DeleteTimer(slot, index)
	}
	to := r.req.Caller
	o.out.Column(functions.MessageType).AppendString(to.Type)
	o.out.Column(functions.MessageID).AppendString(to.ID)
	o.out.Column(functions.MessageCallerType).AppendString(to.Type)
	o.out.Column(functions.MessageCallerID).AppendString(to.ID)
	o.out.Column(functions.MessageTypename).AppendString(functions.AnswerTypename)
	o.out.Column(functions.MessageValue).AppendBytes(value)
	o.out.EndRow(o.ctx.Clock())
	return nil
}

func (o *Operator) ending() bool {
	select {
	case <-o.ctx.Ending:
		return true
	default:
		return false
	}
}

// Braking: what waits for servers is bounded.
func (o *Operator) Braking() bool { return o.bytes > MaxWaitingBytes }

// Barrier freezes what waits; calls go on beside it.
func (o *Operator) Barrier(element.Barrier) (operator.Snapshot, error) {
	return operator.Snapshot{Keyed: o.ctx.State.Freeze()}, nil
}

// Watermark passes on that the stage has no event time.
func (o *Operator) Watermark(_ int, w element.Watermark) error { return o.ctx.Output.Watermark(w) }

// Close gives calls up.
func (o *Operator) Close() error {
	if o.calls != nil {
		o.calls.Close()
	}
	return nil
}

// Timers and EndOfInput have nothing to do.
func (o *Operator) Timers(int64) error   { return nil }
func (o *Operator) EndOfInput(int) error { return nil }

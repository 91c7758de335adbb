package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/weirstream/weir/platform/functions"
	"github.com/weirstream/weir/platform/statefun/wire"
	"github.com/weirstream/weir/platform/storage/state"
)

// start makes as many requests as there is room for.
func (o *Operator) start() error {
	for len(o.ready) > 0 && o.calls.Room() {
		a := o.ready[0]
		o.ready[0] = nil
		o.ready = o.ready[1:]
		a.queued = false
		if a.quarantined || a.mail == 0 {
			continue
		}
		if err := o.invoke(a); err != nil {
			return fmt.Errorf("call %s: %w", a.Address, err)
		}
	}
	if len(o.ready) == 0 {
		o.ready = nil
	}
	return nil
}

// invoke makes a request with the first messages of an address and its states.
func (o *Operator) invoke(a *address) error {
	slot := o.slot(a)
	r := result{to: a}
	o.request.Begin(wireAddress(a.Type, a.ID))
	st := status(o.ctx.State.Mutable(slot, stateStatus, statusBytes))
	if err := o.writeStates(a, slot, st); err != nil {
		return err
	}
	var m mail
	for sub, value := range o.ctx.State.Scan(slot, stateMail, nil) {
		if r.count == o.config.MaxBatch || r.count > 0 && o.request.Size()+len(value) > MaxRequestBytes {
			break
		}
		if err := m.read(value); err != nil || len(sub) != 8 {
			return ErrDamaged
		}
		var caller *wire.Address
		if m.callerType != nil {
			c := wireAddress(string(m.callerType), "")
			c.ID = m.callerID
			caller = &c
		}
		o.request.Invocation(caller, wire.Typed{Typename: m.typename, Value: m.value})
		r.count++
		r.last = number(sub)
	}
	request := bytes.Clone(o.request.Bytes())
	// What a request does has one name, however often it is made.
	key := url.QueryEscape(a.Address.String()) + "/" + strconv.FormatUint(st.calls(), 10)
	_, name, _ := strings.Cut(a.Type, "/")
	a.busy = true
	o.calls.Start(func(ctx context.Context) result {
		r.reply, r.err = o.endpoint.Call(ctx, name, key, request)
		return r
	})
	return nil
}

// finish applies a reply, or sets the address aside.
func (o *Operator) finish(r result) error {
	a := r.to
	a.busy = false
	switch {
	case errors.Is(r.err, context.Canceled):
		return nil // given up with the task
	case r.err != nil:
		return o.quarantine(a, r.err)
	}
	if err := o.reply.Read(r.reply); err != nil {
		return o.quarantine(a, err)
	}
	if o.reply.Incomplete {
		if err := o.register(a); err != nil {
			return o.quarantine(a, err)
		}
		o.enqueue(a)
		return nil
	}
	a.asked = 0
	if err := o.check(a); err != nil {
		return o.quarantine(a, err)
	}
	if err := o.apply(r); err != nil {
		return err
	}
	return o.recovered(a)
}

// check holds a reply against what the function has declared, before anything of it is applied.
func (o *Operator) check(a *address) error {
	for _, m := range o.reply.Mutations {
		spec := o.spec(a.Type, string(m.Name))
		switch {
		case spec == nil:
			return fmt.Errorf("%w: it changes a state %q that it has not declared", wire.ErrReply, m.Name)
		case m.Value != nil && spec.Typename != "" && string(m.Value.Typename) != spec.Typename:
			return fmt.Errorf("%w: state %s is of type %s, and it writes a %s", wire.ErrReply, m.Name, spec.Typename, m.Value.Typename)
		case m.Value != nil && len(m.Value.Value) > state.MaxValueBytes/2:
			return fmt.Errorf("%w: state %s would have %d bytes, the limit is %d", wire.ErrReply, m.Name, len(m.Value.Value), state.MaxValueBytes/2)
		}
	}
	for i := range o.reply.Sends {
		s := &o.reply.Sends[i]
		switch {
		case s.Cancel && len(s.Token) == 0:
			return fmt.Errorf("%w: a cancellation without a token", wire.ErrReply)
		case !s.Cancel && (len(s.Target.Namespace) == 0 || len(s.Target.Type) == 0 || len(s.Target.ID) == 0):
			return fmt.Errorf("%w: a message to the address %q/%q/%q", wire.ErrReply, s.Target.Namespace, s.Target.Type, s.Target.ID)
		case len(s.Argument.Value) > functions.MaxValueBytes:
			return fmt.Errorf("%w: a message of %d bytes, the limit is %d", wire.ErrReply, len(s.Argument.Value), functions.MaxValueBytes)
		}
	}
	for i := range o.reply.Egresses {
		switch arg := &o.reply.Egresses[i].Argument; string(arg.Typename) {
		case wire.KafkaRecordTypename:
			if _, err := wire.ReadKafkaRecord(arg.Value); err != nil {
				return err
			}
		case wire.PlaygroundTypename:
			if _, err := wire.ReadPlaygroundRecord(arg.Value); err != nil {
				return err
			}
		}
	}
	return nil
}

// apply does what a reply says: messages, delayed ones and cancellations, egress,
// then state; and takes the messages that it was for out of the mailbox.
func (o *Operator) apply(r result) error {
	a := r.to
	now := o.ctx.Clock()
	for i := range o.reply.Sends {
		o.send(a, &o.reply.Sends[i])
	}
	for i := range o.reply.Egresses {
		o.give(a, &o.reply.Egresses[i])
	}
	slot := o.slot(a)
	for _, m := range o.reply.Mutations {
		if m.Value == nil {
			o.ctx.State.DeleteEntry(slot, stateValues, m.Name)
			continue
		}
		o.scratch = appendValue(o.scratch[:0], now, m.Value)
		if err := o.ctx.State.PutEntry(slot, stateValues, m.Name, o.scratch); err != nil {
			return err
		}
	}
	st := status(o.ctx.State.Mutable(slot, stateStatus, statusBytes))
	st.setCalls(st.calls() + 1)
	st.setCalled(now)
	o.watchExpiry(a, slot, st)
	_, err := o.take(a, slot, r.count, r.last, nil)
	return err
}

// take removes the first messages of an address, up to a number; each, if not nil,
// sees them before.
func (o *Operator) take(a *address, slot state.Slot, count int, last uint64, each func(*mail) error) (taken int, err error) {
	var numbers [][8]byte
	size := int64(0)
	var m mail
	for sub, value := range o.ctx.State.Scan(slot, stateMail, nil) {
		if len(numbers) == count || number(sub) > last {
			break
		}
		if each != nil {
			if err := m.read(value); err != nil {
				return 0, err
			}
			if err := each(&m); err != nil {
				return 0, err
			}
		}
		numbers = append(numbers, [8]byte(sub))
		size += int64(len(value))
	}
	for i := range numbers {
		o.ctx.State.DeleteEntry(slot, stateMail, numbers[i][:])
	}
	a.mail -= len(numbers)
	a.size -= size
	o.book(a, -len(numbers), -size)
	if a.mail == 0 {
		o.ctx.State.DeleteTimer(slot, index)
		delete(o.addresses, string(a.key))
	}
	o.enqueue(a)
	return len(numbers), nil
}

func (o *Operator) send(a *address, s *wire.Send) {
	b := o.sent
	op, delay := int8(functions.OpSend), int64(0)
	switch {
	case s.Cancel:
		op = functions.OpCancel
	case s.Delayed:
		op, delay = functions.OpDelay, max(s.DelayMs, 0)
	}
	o.scratch = append(append(append(o.scratch[:0], s.Target.Namespace...), '/'), s.Target.Type...)
	b.Column(functions.SentType).AppendBytes(o.scratch)
	b.Column(functions.SentID).AppendBytes(s.Target.ID)
	b.Column(functions.SentTypename).AppendBytes(s.Argument.Typename)
	if s.Argument.Value == nil {
		b.Column(functions.SentValue).AppendNull()
	} else {
		b.Column(functions.SentValue).AppendBytes(s.Argument.Value)
	}
	b.Column(functions.SentOp).AppendInt8(op)
	b.Column(functions.SentDelayMs).AppendInt64(delay)
	if len(s.Token) == 0 {
		b.Column(functions.SentToken).AppendNull()
	} else {
		b.Column(functions.SentToken).AppendBytes(s.Token)
	}
	b.Column(functions.SentCallerType).AppendString(a.Type)
	b.Column(functions.SentCallerID).AppendString(a.ID)
	b.EndRow(o.ctx.Clock())
}

// give hands a message to an egress. A record of StateFun's Kafka egress is taken
// apart: its key and value go, and the topic is what the egress leads to.
func (o *Operator) give(a *address, e *wire.Egress) {
	key, value, name := []byte(nil), e.Argument.Value, e.Type
	switch string(e.Argument.Typename) {
	case wire.KafkaRecordTypename:
		k, _ := wire.ReadKafkaRecord(e.Argument.Value) // checked before
		key, value = k.Key, k.Value
	case wire.PlaygroundTypename:
		k, _ := wire.ReadPlaygroundRecord(e.Argument.Value) // likewise
		name, value = []byte(k.Topic), []byte(k.Payload)
	}
	b := o.egress
	o.scratch = append(append(append(o.scratch[:0], e.Namespace...), '/'), name...)
	b.Column(functions.EgressName).AppendBytes(o.scratch)
	b.Column(functions.EgressTypename).AppendBytes(e.Argument.Typename)
	if key == nil {
		b.Column(functions.EgressKey).AppendNull()
	} else {
		b.Column(functions.EgressKey).AppendBytes(key)
	}
	if value == nil {
		b.Column(functions.EgressValue).AppendNull()
	} else {
		b.Column(functions.EgressValue).AppendBytes(value)
	}
	b.Column(functions.EgressCallerType).AppendString(a.Type)
	b.Column(functions.EgressCallerID).AppendString(a.ID)
	b.EndRow(o.ctx.Clock())
}

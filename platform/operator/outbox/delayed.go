package outbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/functions"
	"github.com/weirstream/weir/platform/storage/state"
)

// Limits of delayed messages.
const (
	// MaxDelayMs is ten years.
	MaxDelayMs = 10 * 366 * 24 * 3600 * 1000
	// MaxAtOnce is how many messages of one sender may be due at one microsecond.
	MaxAtOnce = math.MaxUint16
	// firingsPerStep is how many senders' messages are taken at once.
	firingsPerStep = 1024
)

// ErrDamaged says that a delayed message cannot be read.
var ErrDamaged = errors.New("delayed message is damaged")

// A delayed message stands under its sender's key, as
//
//	due time (8 bytes, big-endian, of microseconds) | number (2 bytes, big-endian)
//
// where the number tells those of one time apart, in order. A timer stands for
// each time. The value is a delayed: its fields, each with its length before it.
const subBytes = 10

type placed struct {
	slot   state.Slot
	due    int64
	number int
}

// delayed is what is to be sent. The sender is the address whose state it is.
type delayed struct {
	Type, ID, Typename, Value, Token []byte
	CallerType, CallerID             []byte
}

func (d *delayed) append(dst []byte) []byte {
	for _, f := range [...][]byte{d.Type, d.ID, d.CallerType, d.CallerID, d.Typename, d.Token} {
		dst = binary.AppendUvarint(dst, uint64(len(f)))
		dst = append(dst, f...)
	}
	if d.Value == nil {
		return append(dst, 0)
	}
	return append(append(dst, 1), d.Value...)
}

func (d *delayed) read(b []byte) error {
	for _, f := range [...]*[]byte{&d.Type, &d.ID, &d.CallerType, &d.CallerID, &d.Typename, &d.Token} {
		n, used := binary.Uvarint(b)
		if used <= 0 || n > uint64(len(b)-used) {
			return ErrDamaged
		}
		*f, b = b[used:used+int(n)], b[used+int(n):]
	}
	if len(b) == 0 || b[0] > 1 || b[0] == 0 && len(b) > 1 {
		return ErrDamaged
	}
	d.Value = nil
	if b[0] == 1 {
		d.Value = b[1:]
	}
	return nil
}

// postpone keeps messages for later and drops those that are cancelled, in order.
func (o *Operator) postpone(b *batch.Batch, rows []int32) error {
	if len(rows) == 0 {
		return nil
	}
	v := b.Retain().View()
	defer v.Release()
	copy(v.Select(len(rows)), rows)
	if err := o.keyer.Encode(v); err != nil {
		return err
	}
	o.slots = o.ctx.State.Resolve(state.Keys{Bytes: o.keyer.Bytes, Offsets: o.keyer.Offsets}, o.keyer.Hashes, o.slots[:0])
	o.last = placed{} // slots of the last batch may be other keys' by now
	ops, delays := b.Columns[functions.SentOp].Int8s(), b.Columns[functions.SentDelayMs].Int64s()
	tokens := &b.Columns[functions.SentToken]
	now := o.ctx.Clock()
	for i, row := range rows {
		row := int(row)
		var token []byte
		if !tokens.Null(row) {
			token = tokens.BytesAt(row)
		}
		var err error
		switch {
		case len(token) > functions.MaxTokenBytes:
			err = fmt.Errorf("a cancellation token of %d bytes: the limit is %d", len(token), functions.MaxTokenBytes)
		case ops[row] == functions.OpCancel && len(token) == 0:
			err = errors.New("a cancellation without a token")
		case ops[row] == functions.OpCancel:
			err = o.cancel(o.slots[i], token)
		case delays[row] > MaxDelayMs:
			err = fmt.Errorf("a delay of %d ms: the limit is %d, ten years", delays[row], int64(MaxDelayMs))
		default:
			err = o.keep(b, row, o.slots[i], now+max(delays[row], 0)*1000, token)
		}
		if err == nil {
			continue
		}
		if err := o.refuse(b, row, err); err != nil {
			return err
		}
	}
	return nil
}

// keep stores a message, in place of an earlier one of the same token.
func (o *Operator) keep(b *batch.Batch, row int, slot state.Slot, due int64, token []byte) error {
	if len(token) > 0 {
		if err := o.cancel(slot, token); err != nil {
			return err
		}
	}
	bytesOf := func(col int) []byte {
		if c := &b.Columns[col]; !c.Null(row) {
			return c.BytesAt(row)
		}
		return nil
	}
	d := delayed{
		Type: bytesOf(functions.SentType), ID: bytesOf(functions.SentID), Typename: bytesOf(functions.SentTypename),
		Value: bytesOf(functions.SentValue), Token: token,
		CallerType: bytesOf(functions.SentCallerType), CallerID: bytesOf(functions.SentCallerID),
	}
	number, err := o.number(slot, due)
	if err != nil {
		return err
	}
	var sub [subBytes]byte
	putSub(&sub, due, number)
	if err := o.ctx.State.PutEntry(slot, stateDelayed, sub[:], d.append(nil)); err != nil {
		return err
	}
	if len(token) > 0 {
		if err := o.ctx.State.PutEntry(slot, stateTokens, token, sub[:]); err != nil {
			return err
		}
	}
	o.ctx.State.SetTimer(slot, state.Timer{Kind: state.ProcessingTime, Time: due})
	return nil
}

// number finds a free place behind those of the same time. Numbers are given one
// after the other, so the first free one is found by doubling and halving.
func (o *Operator) number(slot state.Slot, due int64) (int, error) {
	taken := func(n int) bool {
		var sub [subBytes]byte
		putSub(&sub, due, n)
		_, found := o.ctx.State.GetEntry(slot, stateDelayed, sub[:])
		return found
	}
	if o.last.number > 0 && o.last.slot == slot && o.last.due == due {
		if n := o.last.number; n <= MaxAtOnce && !taken(n) {
			o.last.number++
			return n, nil
		}
	}
	low, high := -1, 0 // low is taken, high is free
	for taken(high) {
		if low = high; low >= MaxAtOnce {
			return 0, fmt.Errorf("more than %d delayed messages of one sender for one moment: spread them", MaxAtOnce)
		}
		high = min(2*high+1, MaxAtOnce)
	}
	for high-low > 1 {
		if mid := (low + high) / 2; taken(mid) {
			low = mid
		} else {
			high = mid
		}
	}
	o.last = placed{slot: slot, due: due, number: high + 1}
	return high, nil
}

// cancel drops the message of a token. One that has been sent is no longer there.
func (o *Operator) cancel(slot state.Slot, token []byte) error {
	sub, found := o.ctx.State.GetEntry(slot, stateTokens, token)
	if !found {
		return nil
	}
	if len(sub) != subBytes {
		return fmt.Errorf("token %q: %w", token, ErrDamaged)
	}
	var at [subBytes]byte
	copy(at[:], sub)
	due := dueOf(at[:])
	o.ctx.State.DeleteEntry(slot, stateTokens, token)
	o.ctx.State.DeleteEntry(slot, stateDelayed, at[:])
	o.last = placed{}
	var before [subBytes]byte
	putSub(&before, due-1, MaxAtOnce)
	for key := range o.ctx.State.Scan(slot, stateDelayed, before[:]) {
		if dueOf(key) == due {
			return nil // another one of the same moment
		}
		break
	}
	o.ctx.State.DeleteTimer(slot, state.Timer{Kind: state.ProcessingTime, Time: due})
	return nil
}

// Timers sends what is due. What has piled up while nothing ran goes out only as
// fast as it is taken.
func (o *Operator) Timers(clockMicros int64) error {
	for !o.ctx.Crowded() {
		if next, ok := o.ctx.State.NextTimer(state.ProcessingTime); !ok || next > clockMicros {
			return nil
		}
		o.due = o.ctx.State.Due(state.ProcessingTime, clockMicros, firingsPerStep, o.due[:0])
		if len(o.due) == 0 {
			return nil
		}
		for _, f := range o.due {
			if err := o.fire(f, clockMicros); err != nil {
				return err
			}
		}
		if o.outgoing.Len() > 0 {
			if err := o.ctx.Output.Emit(0, o.outgoing.Finish("", 0)); err != nil {
				return err
			}
		}
		if o.outgoingReplies.Len() > 0 {
			if err := o.ctx.Output.Emit(o.replies, o.outgoingReplies.Finish("", 0)); err != nil {
				return err
			}
		}
	}
	return nil
}

// fire takes all messages of one sender and moment.
func (o *Operator) fire(f state.Firing, clockMicros int64) error {
	due := f.Timer.Time
	for {
		var after, key [subBytes]byte
		putSub(&after, due-1, MaxAtOnce)
		var d delayed
		found := false
		for k, value := range o.ctx.State.Scan(f.Slot, stateDelayed, after[:]) {
			if len(k) != subBytes || dueOf(k) != due {
				break
			}
			copy(key[:], k)
			if err := d.read(value); err != nil {
				return err
			}
			found = true
			break
		}
		if !found {
			return nil
		}
		o.out(&d, clockMicros)
		if len(d.Token) > 0 {
			token := string(d.Token) // the view ends with the next write
			o.ctx.State.DeleteEntry(f.Slot, stateDelayed, key[:])
			o.ctx.State.DeleteEntry(f.Slot, stateTokens, []byte(token))
			continue
		}
		o.ctx.State.DeleteEntry(f.Slot, stateDelayed, key[:])
	}
}

func (o *Operator) out(d *delayed, clockMicros int64) {
	to := o.outgoing
	if string(d.Type) == functions.CallType {
		to = o.outgoingReplies
	}
	to.Column(functions.MessageType).AppendBytes(d.Type)
	to.Column(functions.MessageID).AppendBytes(d.ID)
	to.Column(functions.MessageCallerType).AppendBytes(d.CallerType)
	to.Column(functions.MessageCallerID).AppendBytes(d.CallerID)
	to.Column(functions.MessageTypename).AppendBytes(d.Typename)
	if d.Value == nil {
		to.Column(functions.MessageValue).AppendNull()
	} else {
		to.Column(functions.MessageValue).AppendBytes(d.Value)
	}
	to.EndRow(clockMicros)
}

func putSub(sub *[subBytes]byte, due int64, number int) {
	binary.BigEndian.PutUint64(sub[:], uint64(due))
	binary.BigEndian.PutUint16(sub[8:], uint16(number))
}

func dueOf(sub []byte) int64 { return int64(binary.BigEndian.Uint64(sub)) }

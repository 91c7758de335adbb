package parked

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/functions"
	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/operator/dispatch"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// The states of an address that has mail.
const (
	stateMail state.ID = iota // number (8 bytes, big-endian) -> message
	stateNext                 // the next number (8 bytes)
)

// Limits.
const (
	addressesPerStep = 256
	messagesPerStep  = 1024
)

// ErrDamaged says that a message that waits cannot be read.
var ErrDamaged = errors.New("parked message is damaged")

// States describes them for the job graph.
func States() []jobgraph.State {
	return []jobgraph.State{
		{Name: "mail", Kind: "map", Form: "hosted", Codec: "bytes", Version: 1},
		{Name: "next", Kind: "value", Form: "framed", Codec: "bytes", Version: 1},
	}
}

// index is the timer that every address with mail has: an event time that is
// always past, so that who restores the state finds what waits, however it is
// loaded, without a look at every key.
var index = state.Timer{Kind: state.EventTime, Time: element.MinTime + 1}

// Operator keeps messages until something takes their type.
type Operator struct {
	ctx      *operator.Context
	routes   *dispatch.Routes
	keyer    *functions.Keyer
	slots    []state.Slot
	out      *batch.Builder
	due      []state.Firing
	draining bool
	still    []state.Slot // addresses that were looked at and have to wait on
	scratch  []byte
}

// New makes the operator.
func New() *Operator { return &Operator{} }

// Open begins to send what can be sent by now.
func (o *Operator) Open(ctx *operator.Context) (err error) {
	o.ctx = ctx
	var c Config
	if err := json.Unmarshal(ctx.Config, &c); err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	if o.routes, err = dispatch.NewRoutes(c.Types); err != nil {
		return err
	}
	if o.keyer, err = functions.NewKeyer(functions.Message, "type", "id"); err != nil {
		return err
	}
	o.out, o.draining = batch.NewBuilder(functions.Message), true
	return o.drain()
}

// Process keeps messages in the order they come in.
func (o *Operator) Process(_ int, b *batch.Batch) error {
	defer b.Release()
	if err := o.keyer.Encode(b); err != nil {
		return err
	}
	o.slots = o.ctx.State.Resolve(state.Keys{Bytes: o.keyer.Bytes, Offsets: o.keyer.Offsets}, o.keyer.Hashes, o.slots[:0])
	for i, slot := range o.slots {
		row := b.Row(i)
		next := o.ctx.State.Mutable(slot, stateNext, 8)
		var sub [8]byte
		copy(sub[:], next)
		binary.BigEndian.PutUint64(next, binary.BigEndian.Uint64(sub[:])+1)
		o.scratch = appendMessage(o.scratch[:0], b, row)
		if err := o.ctx.State.PutEntry(slot, stateMail, sub[:], o.scratch); err != nil {
			return err
		}
		o.ctx.State.SetTimer(slot, index)
	}
	return nil
}

// Timers goes on sending.
func (o *Operator) Timers(int64) error {
	if !o.draining {
		return nil
	}
	if err := o.drain(); err != nil {
		return err
	}
	if !o.draining {
		o.ctx.Wake()
	}
	return nil
}

// Braking: what has waited goes before what comes from outside now.
func (o *Operator) Braking() bool { return o.draining }

// drain sends what has a type by now, as fast as it is taken.
func (o *Operator) drain() error {
	for !o.ctx.Crowded() {
		o.due = o.ctx.State.Due(state.EventTime, index.Time, addressesPerStep, o.due[:0])
		if len(o.due) == 0 {
			o.wait()
			o.draining = false
			return nil
		}
		for _, f := range o.due {
			if err := o.send(f.Slot); err != nil {
				return err
			}
		}
		if o.out.Len() > 0 {
			if err := o.ctx.Output.Emit(0, o.out.Finish("", 0)); err != nil {
				return err
			}
		}
	}
	return nil
}

// wait gives the addresses that have to wait on their timers back.
func (o *Operator) wait() {
	for _, slot := range o.still {
		o.ctx.State.SetTimer(slot, index)
	}
	o.still = o.still[:0]
}

// send takes some messages of an address, if its type is known.
func (o *Operator) send(slot state.Slot) error {
	var numbers [][8]byte
	known, more := true, false
	for sub, value := range o.ctx.State.Scan(slot, stateMail, nil) {
		if len(numbers) == messagesPerStep {
			more = true
			break
		}
		typ, err := typeOf(value)
		if err != nil {
			return err
		}
		if known = o.routes.Known(typ); !known {
			break
		}
		if err := o.add(value); err != nil {
			return err
		}
		numbers = append(numbers, [8]byte(sub))
	}
	for _, n := range numbers {
		o.ctx.State.DeleteEntry(slot, stateMail, n[:])
	}
	switch {
	case !known:
		o.still = append(o.still, slot)
	case more:
		o.ctx.State.SetTimer(slot, index)
	default:
		o.ctx.State.Clear(slot, stateNext)
	}
	return nil
}

// A message is its columns in order, each 0 for null, or 1 + its length, and the bytes.
func appendMessage(dst []byte, b *batch.Batch, row int) []byte {
	for i := range b.Columns {
		c := &b.Columns[i]
		if c.Null(row) {
			dst = append(dst, 0)
			continue
		}
		v := c.BytesAt(row)
		dst = binary.AppendUvarint(dst, uint64(len(v))+1)
		dst = append(dst, v...)
	}
	return dst
}

func field(b []byte) (value, rest []byte, err error) {
	n, used := binary.Uvarint(b)
	if used <= 0 || n > uint64(len(b)-used)+1 {
		return nil, nil, ErrDamaged
	}
	if n == 0 {
		return nil, b[used:], nil
	}
	return b[used : used+int(n)-1 : used+int(n)-1], b[used+int(n)-1:], nil
}

func typeOf(b []byte) ([]byte, error) {
	typ, _, err := field(b)
	return typ, err
}

func (o *Operator) add(b []byte) error {
	for i := range functions.Message.Fields {
		v, rest, err := field(b)
		switch {
		case err != nil:
			o.out.Cancel()
			return err
		case v == nil:
			o.out.Column(i).AppendNull()
		default:
			o.out.Column(i).AppendBytes(v)
		}
		b = rest
	}
	o.out.EndRow(o.ctx.Clock())
	return nil
}

// Barrier freezes what waits.
func (o *Operator) Barrier(element.Barrier) (operator.Snapshot, error) {
	o.wait()
	return operator.Snapshot{Keyed: o.ctx.State.Freeze()}, nil
}

// Watermark passes on that the stage has no event time.
func (o *Operator) Watermark(_ int, w element.Watermark) error { return o.ctx.Output.Watermark(w) }

// EndOfInput and Close have nothing to do.
func (o *Operator) EndOfInput(int) error { return nil }
func (o *Operator) Close() error         { return nil }

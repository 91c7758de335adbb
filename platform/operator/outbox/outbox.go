package outbox

import (
	"encoding/json"
	"fmt"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/functions"
	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/operator/deadletter"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// The states, which belong to the sender's address.
const (
	stateDelayed state.ID = iota // due time and a number -> what is to be sent
	stateTokens                  // token -> due time and number
)

// States describes them for the job graph.
func States() []jobgraph.State {
	return []jobgraph.State{
		{Name: "delayed", Kind: "map", Form: "hosted", Codec: "bytes", Version: 1},
		{Name: "tokens", Kind: "map", Form: "hosted", Codec: "bytes", Version: 1},
	}
}

// Operator sends what functions send.
type Operator struct {
	ctx     *operator.Context
	handle  []func(*batch.Batch) error // by input
	egress  map[string]int             // name -> output
	replies int                        // output
	dead    *deadletter.Writer
	checked map[string]bool // types that are well formed
	keyer   *functions.Keyer
	slots   []state.Slot

	now, later, reply []int32 // rows of the batch at hand
	due               []state.Firing
	outgoing          *batch.Builder // of delayed messages
	outgoingReplies   *batch.Builder
	rows              []*batch.Builder // of egresses, by output
	last              placed           // where the last delayed message stands
}

// New makes the operator.
func New() *Operator { return &Operator{} }

// Open tells its inputs apart by their columns.
func (o *Operator) Open(ctx *operator.Context) (err error) {
	o.ctx = ctx
	var c Config
	if err := json.Unmarshal(ctx.Config, &c); err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	for i, in := range ctx.Inputs {
		switch {
		case in.Equal(functions.Sent):
			o.handle = append(o.handle, o.sent)
		case in.Equal(functions.Egress):
			o.handle = append(o.handle, o.egresses)
		case in.Equal(functions.Message):
			o.handle = append(o.handle, o.messages)
		default:
			return fmt.Errorf("input %d has the columns %s, which nothing of a function has", i, in)
		}
	}
	o.egress = map[string]int{}
	o.rows = make([]*batch.Builder, len(ctx.Outputs))
	for i, name := range c.Egress {
		o.egress[name] = 1 + i
		o.rows[1+i] = batch.NewBuilder(schema.Raw())
	}
	o.replies = 1 + len(c.Egress)
	want := o.replies + 1
	if c.DeadLetters {
		o.dead = deadletter.NewWriter(ctx.Identity, want, ctx.Output)
		want++
	}
	if len(ctx.Outputs) != want {
		return fmt.Errorf("%d outputs for %d egresses, want %d", len(ctx.Outputs), len(c.Egress), want)
	}
	o.checked = map[string]bool{functions.CallType: true}
	o.outgoing, o.outgoingReplies = batch.NewBuilder(functions.Message), batch.NewBuilder(functions.Message)
	o.keyer, err = functions.NewKeyer(functions.Sent, "caller_type", "caller_id")
	return err
}

// Process sends a batch of one kind or another.
func (o *Operator) Process(input int, b *batch.Batch) error {
	defer b.Release()
	return o.handle[input](b)
}

// sent parts what goes at once from what goes later and what answers a call.
func (o *Operator) sent(b *batch.Batch) error {
	ops := b.Columns[functions.SentOp].Int8s()
	types, ids := &b.Columns[functions.SentType], &b.Columns[functions.SentID]
	typenames, values := &b.Columns[functions.SentTypename], &b.Columns[functions.SentValue]
	o.now, o.later, o.reply = o.now[:0], o.later[:0], o.reply[:0]
	for i := range b.Len() {
		row := b.Row(i)
		if ops[row] == functions.OpCancel {
			o.later = append(o.later, int32(row))
			continue
		}
		if err := o.check(types.BytesAt(row), ids.BytesAt(row), typenames.BytesAt(row), values, row); err != nil {
			if err := o.refuse(b, row, err); err != nil {
				return err
			}
			continue
		}
		switch {
		case ops[row] == functions.OpDelay:
			o.later = append(o.later, int32(row))
		case ops[row] != functions.OpSend:
			if err := o.refuse(b, row, fmt.Errorf("operation %d: want 0 to 2", ops[row])); err != nil {
				return err
			}
		case string(types.BytesAt(row)) == functions.CallType:
			o.reply = append(o.reply, int32(row))
		default:
			o.now = append(o.now, int32(row))
		}
	}
	pick := [...]int{functions.SentType, functions.SentID, functions.SentCallerType, functions.SentCallerID, functions.SentTypename, functions.SentValue}
	if err := o.forward(0, b, o.now, pick[:]); err != nil {
		return err
	}
	if err := o.forward(o.replies, b, o.reply, pick[:]); err != nil {
		return err
	}
	return o.postpone(b, o.later)
}

// messages passes on what is made by operators of the platform.
func (o *Operator) messages(b *batch.Batch) error {
	o.now, o.reply = o.now[:0], o.reply[:0]
	types := &b.Columns[functions.MessageType]
	for i := range b.Len() {
		row := b.Row(i)
		if string(types.BytesAt(row)) == functions.CallType {
			o.reply = append(o.reply, int32(row))
		} else {
			o.now = append(o.now, int32(row))
		}
	}
	pick := [...]int{0, 1, 2, 3, 4, 5}
	if err := o.forward(0, b, o.now, pick[:]); err != nil {
		return err
	}
	return o.forward(o.replies, b, o.reply, pick[:])
}

// forward emits rows of a batch as messages: the columns are the batch's own.
func (o *Operator) forward(output int, b *batch.Batch, rows []int32, pick []int) error {
	if len(rows) == 0 {
		return nil
	}
	v := b.Retain().View()
	v.Schema, v.Hashes, v.Kinds, v.Origin = functions.Message, nil, nil, nil
	var cols [6]frame.Column
	for i, c := range pick {
		cols[i] = b.Columns[c]
		cols[i].Type = &functions.Message.Fields[i].Type
	}
	v.SetColumns(cols[:], b.Physical())
	if len(rows) < b.Physical() {
		copy(v.Select(len(rows)), rows)
	}
	return o.ctx.Output.Emit(output, v)
}

// check holds a message against the limits. Types are few, and checked once each.
func (o *Operator) check(typ, id, typename []byte, values *frame.Column, row int) error {
	if !o.checked[string(typ)] {
		if err := functions.CheckType(string(typ)); err != nil {
			return err
		}
		if len(o.checked) >= maxChecked {
			clear(o.checked)
			o.checked[functions.CallType] = true
		}
		o.checked[string(typ)] = true
	}
	switch {
	case len(id) == 0 || len(id) > functions.MaxIDBytes:
		return fmt.Errorf("%w: an id of %d bytes: want 1 to %d", functions.ErrAddress, len(id), functions.MaxIDBytes)
	case len(typename) > functions.MaxTypenameBytes:
		return fmt.Errorf("a type name of %d bytes: the limit is %d", len(typename), functions.MaxTypenameBytes)
	case functions.Internal(string(typename)): // an answer or a command that nobody gave
		return fmt.Errorf("the type name %s is Weir's own", typename)
	case !values.Null(row) && len(values.BytesAt(row)) > functions.MaxValueBytes:
		return fmt.Errorf("a value of %d bytes: the limit is %d; keep it in state or in a topic, and send what names it", len(values.BytesAt(row)), functions.MaxValueBytes)
	}
	return nil
}

const maxChecked = 4096

// refuse takes a row out, as configured.
func (o *Operator) refuse(b *batch.Batch, row int, why error) error {
	n := len(b.Columns)
	from := functions.Address{Type: b.Columns[n-2].StringAt(row), ID: b.Columns[n-1].StringAt(row)}
	text := fmt.Sprintf("%s sends what cannot be sent: %v", from, why)
	if o.dead == nil {
		return &UserError{Text: text + "; mend the function, or set `errors: dead_letter` to go on without such messages"}
	}
	o.ctx.Meter.DeadLetters.Add(1)
	return o.dead.Row(text, b, row)
}

// UserError is a failure that only the user can mend: it fails the job.
type UserError struct{ Text string }

func (e *UserError) Error() string { return e.Text }

// UserFault marks the error for whoever decides about restarts.
func (e *UserError) UserFault() bool { return true }

// Watermark passes on that the stage has no event time.
func (o *Operator) Watermark(_ int, w element.Watermark) error { return o.ctx.Output.Watermark(w) }

// Barrier freezes what waits.
func (o *Operator) Barrier(element.Barrier) (operator.Snapshot, error) {
	return operator.Snapshot{Keyed: o.ctx.State.Freeze()}, nil
}

// EndOfInput and Close have nothing to do.
func (o *Operator) EndOfInput(int) error { return nil }
func (o *Operator) Close() error         { return nil }

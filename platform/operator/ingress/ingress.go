package ingress

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
	jsonformat "github.com/weirstream/weir/platform/format/json"
	"github.com/weirstream/weir/platform/functions"
	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/operator/deadletter"
	"github.com/weirstream/weir/platform/operator/native"
)

// Outputs of the operator.
const (
	Messages    = 0
	DeadLetters = 1 // only with Config.DeadLetters
)

// Columns of schema.Raw, by position.
const (
	rawKey = iota
	rawValue
)

// Check says what is wrong with a configuration.
func (c Config) Check() error {
	if len(c.To) == 0 {
		return fmt.Errorf("an ingress has no type to send to")
	}
	for _, to := range c.To {
		if err := functions.CheckType(to); err != nil {
			return err
		}
	}
	if c.Field != "" {
		for _, name := range strings.Split(c.Field, ".") {
			if name == "" {
				return fmt.Errorf("field %q: a name between its dots is empty", c.Field)
			}
		}
	}
	if functions.Internal(c.Typename) {
		return fmt.Errorf("the type name %s is Weir's own", c.Typename)
	}
	if c.Typename == "" || len(c.Typename) > functions.MaxTypenameBytes {
		return fmt.Errorf("a type name of %d bytes: want 1 to %d", len(c.Typename), functions.MaxTypenameBytes)
	}
	if _, ok := wrappers[c.Typename]; c.Wrap && !ok {
		return fmt.Errorf("wrap: the type name %s has no wrapper; those that have one are %s", c.Typename, strings.Join(Wrapped(), ", "))
	}
	return nil
}

// Operator makes messages of records.
type Operator struct {
	ctx     *operator.Context
	config  Config
	finder  *jsonformat.Finder // nil: the record's key is the id
	wrap    func(dst, text []byte) ([]byte, error)
	rows    *batch.Builder
	dead    *deadletter.Writer // nil: a record without an id fails the job
	wrapped []byte
}

// New makes the operator.
func New() *Operator { return &Operator{} }

// Open binds the configuration.
func (o *Operator) Open(ctx *operator.Context) error {
	o.ctx = ctx
	if err := json.Unmarshal(ctx.Config, &o.config); err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	if err := o.config.Check(); err != nil {
		return err
	}
	if len(ctx.Inputs) != 1 || !ctx.Inputs[0].Equal(schema.Raw()) {
		return fmt.Errorf("an ingress has one input of records as they are stored, not %v", ctx.Inputs)
	}
	if o.config.Field != "" {
		o.finder = jsonformat.NewFinder(strings.Split(o.config.Field, ".")...)
	}
	if o.config.Wrap {
		o.wrap = wrappers[o.config.Typename]
	}
	if o.config.DeadLetters {
		o.dead = deadletter.NewWriter(ctx.Identity, DeadLetters, ctx.Output)
	}
	o.rows = batch.NewBuilder(functions.Message)
	return nil
}

// Process sends each record to every type.
func (o *Operator) Process(_ int, b *batch.Batch) error {
	defer b.Release()
	for i := range b.Len() {
		row := b.Row(i)
		reason := o.message(b, row)
		if reason == "" {
			continue
		}
		o.rows.Cancel()
		if err := o.refuse(reason, b, row); err != nil {
			o.rows.Reset()
			return err
		}
	}
	if o.rows.Len() == 0 {
		return nil
	}
	return o.emit(b)
}

// message builds the message of a record to the first type, or says why there is none.
func (o *Operator) message(b *batch.Batch, row int) string {
	id, reason := o.id(b, row)
	switch {
	case reason != "":
		return reason
	case len(id) == 0:
		return "its id is empty"
	case len(id) > functions.MaxIDBytes:
		return fmt.Sprintf("its id has %d bytes, the limit is %d", len(id), functions.MaxIDBytes)
	case !utf8.Valid(id):
		return "its id is not UTF-8"
	}
	o.rows.Column(functions.MessageType).AppendString(o.config.To[0])
	o.rows.Column(functions.MessageID).AppendBytes(id)
	o.rows.Column(functions.MessageCallerType).AppendNull()
	o.rows.Column(functions.MessageCallerID).AppendNull()
	o.rows.Column(functions.MessageTypename).AppendString(o.config.Typename)
	values := &b.Columns[rawValue]
	if values.Null(row) {
		o.rows.Column(functions.MessageValue).AppendNull()
	} else {
		value := values.BytesAt(row)
		if o.wrap != nil {
			var err error
			if o.wrapped, err = o.wrap(o.wrapped[:0], value); err != nil {
				return err.Error()
			}
			value = o.wrapped
		}
		if len(value) > functions.MaxValueBytes {
			return fmt.Sprintf("it has %d bytes, the limit of a message is %d", len(value), functions.MaxValueBytes)
		}
		o.rows.Column(functions.MessageValue).AppendBytes(value)
	}
	if b.Origin != nil {
		o.rows.EndRead(b.Time(row), b.Origin.Sequences[row], b.Origin.Rows[row])
	} else {
		o.rows.EndRow(b.Time(row))
	}
	return ""
}

// id is the id of the address that a record goes to.
func (o *Operator) id(b *batch.Batch, row int) (id []byte, reason string) {
	if o.finder == nil {
		keys := &b.Columns[rawKey]
		if keys.Null(row) {
			return nil, "it has no key to be the id of the function: produce it with a key, or take the id from a field of its JSON by id: {field: NAME}"
		}
		return keys.BytesAt(row), ""
	}
	text, ok, err := o.finder.FindRaw(b.Columns[rawValue].BytesAt(row))
	switch {
	case err != nil:
		return nil, "its id cannot be read: " + err.Error()
	case !ok:
		return nil, fmt.Sprintf("it has no field %s to be the id of the function", o.config.Field)
	case text[0] == '{' || text[0] == '[':
		return nil, fmt.Sprintf("its field %s is an object or a list, which is no id", o.config.Field)
	case text[0] == '"':
		text = o.finder.Text()
	}
	return text, ""
}

// emit gives the messages to the first type, then the same to each other.
func (o *Operator) emit(b *batch.Batch) error {
	topic, partition := "", int32(0)
	if b.Origin != nil {
		topic, partition = b.Origin.Topic, b.Origin.Partition
	}
	first := o.rows.Finish(topic, partition)
	for _, to := range o.config.To[1:] {
		if err := o.ctx.Output.Emit(Messages, retarget(first.Retain().View(), to)); err != nil {
			first.Release()
			return err
		}
	}
	return o.ctx.Output.Emit(Messages, first)
}

// retarget gives all rows of a view another type.
func retarget(v *batch.Batch, to string) *batch.Batch {
	n := v.Physical()
	buf := batch.NewBuffer((n+1)*4 + n*len(to))
	v.Keep(buf)
	c := frame.Column{Type: &functions.Message.Fields[functions.MessageType].Type, Length: n, Values: buf.Bytes[:(n+1)*4], Bytes: buf.Bytes[(n+1)*4:]}
	for i, offsets := 0, c.Offsets(); i <= n; i++ {
		offsets[i] = int32(i * len(to))
	}
	for i := range n {
		copy(c.Bytes[i*len(to):], to)
	}
	v.Columns[functions.MessageType] = c
	return v
}

// refuse takes a record out of the stream as configured.
func (o *Operator) refuse(reason string, b *batch.Batch, row int) error {
	r := deadletter.Record{Key: bytesOrNil(&b.Columns[rawKey], row), Value: bytesOrNil(&b.Columns[rawValue], row), TimeMicros: b.Time(row)}
	if b.Origin != nil {
		r.Topic, r.Partition, r.Sequence, r.Row = b.Origin.Topic, b.Origin.Partition, b.Origin.Sequences[row], b.Origin.Rows[row]
	}
	if o.dead == nil {
		return &native.RowError{Text: fmt.Sprintf("a record%s is no message: %s; or set `errors: dead_letter` to go on without such records", place(&r), reason)}
	}
	o.ctx.Meter.DeadLetters.Add(1)
	return o.dead.Raw(reason, r)
}

func place(r *deadletter.Record) string {
	if r.Topic == "" {
		return ""
	}
	return fmt.Sprintf(" of %s, partition %d, sequence %d, row %d", r.Topic, r.Partition, r.Sequence, r.Row)
}

func bytesOrNil(c *frame.Column, row int) []byte {
	if c.Null(row) {
		return nil
	}
	return c.BytesAt(row)
}

// Watermark passes the watermark on.
func (o *Operator) Watermark(_ int, w element.Watermark) error { return o.ctx.Output.Watermark(w) }

// Timers has nothing to do.
func (o *Operator) Timers(int64) error { return nil }

// Barrier has nothing to keep: each batch is out before the next element comes.
func (o *Operator) Barrier(element.Barrier) (operator.Snapshot, error) {
	return operator.Snapshot{}, nil
}

// EndOfInput has nothing to do.
func (o *Operator) EndOfInput(int) error { return nil }

// Close has nothing to give back.
func (o *Operator) Close() error { return nil }

// Package deadletter says what a dead letter is and writes them: a record that
// cannot be decoded or that a function refuses, with the reason and the place
// it came from. Dead letters are output like any other and belong to the epoch
// of the record. The package must not know where they are kept.
package deadletter

import (
	"strings"
	"time"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/format/json"
	"github.com/weirstream/weir/platform/operator"
)

// MaxReasonBytes is where a reason is cut.
const MaxReasonBytes = 4096

// Schema is the schema of dead letters. Topic, partition, sequence and row say
// where the record was read, where that is known. Value is the record as it was
// read if it could not be decoded, else the row as JSON.
var Schema = schema.MustParse("pipeline:utf8,operator:utf8,task:int32,reason:utf8,time:timestamp," +
	"topic:utf8?,partition:int32?,sequence:int64?,row:int32?,key:binary?,value:binary?,decoded:bool")

// The columns of Schema, by number.
const (
	colPipeline = iota
	colOperator
	colTask
	colReason
	colTime
	colTopic
	colPartition
	colSequence
	colRow
	colKey
	colValue
	colDecoded
)

// Writer emits dead letters of one operator.
type Writer struct {
	id      operator.Identity
	output  int
	out     operator.Output
	builder *batch.Builder
	encoder *json.Encoder
	of      *schema.Schema // what encoder was made for
	text    []byte
}

// NewWriter writes to an output of the operator.
func NewWriter(id operator.Identity, output int, out operator.Output) *Writer {
	return &Writer{id: id, output: output, out: out, builder: batch.NewBuilder(Schema)}
}

// Row emits a decoded row that was refused.
func (w *Writer) Row(reason string, b *batch.Batch, row int) error {
	if w.of != b.Schema {
		w.encoder, w.of = json.NewEncoder(b.Schema), b.Schema
	}
	w.text = w.encoder.Append(w.text[:0], b.Columns, row)
	w.begin(reason)
	if o := b.Origin; o != nil {
		w.place(o.Topic, o.Partition, o.Sequences[row], o.Rows[row])
	} else {
		w.noPlace()
	}
	w.builder.Column(colKey).AppendNull()
	w.builder.Column(colValue).AppendBytes(w.text)
	w.builder.Column(colDecoded).AppendBool(true)
	return w.end(b.Time(row))
}

// Record is a record that could not be decoded.
type Record struct {
	Topic      string // empty: unknown
	Partition  int32
	Sequence   uint64
	Row        int32
	Key, Value []byte // nil: absent
	TimeMicros int64
}

// Raw emits a record as it was read.
func (w *Writer) Raw(reason string, r Record) error {
	w.begin(reason)
	if r.Topic != "" {
		w.place(r.Topic, r.Partition, r.Sequence, r.Row)
	} else {
		w.noPlace()
	}
	for col, value := range map[int][]byte{colKey: r.Key, colValue: r.Value} {
		if value == nil {
			w.builder.Column(col).AppendNull()
		} else {
			w.builder.Column(col).AppendBytes(value)
		}
	}
	w.builder.Column(colDecoded).AppendBool(false)
	return w.end(r.TimeMicros)
}

func (w *Writer) begin(reason string) {
	w.builder.Column(colPipeline).AppendString(w.id.Pipeline)
	w.builder.Column(colOperator).AppendString(w.id.Operator)
	w.builder.Column(colTask).AppendInt32(int32(w.id.Task))
	w.builder.Column(colReason).AppendString(cut(reason))
	w.builder.Column(colTime).AppendInt64(time.Now().UnixMicro())
}

func (w *Writer) place(topic string, partition int32, sequence uint64, row int32) {
	w.builder.Column(colTopic).AppendString(topic)
	w.builder.Column(colPartition).AppendInt32(partition)
	w.builder.Column(colSequence).AppendInt64(int64(sequence))
	w.builder.Column(colRow).AppendInt32(row)
}

func (w *Writer) noPlace() {
	for col := colTopic; col <= colRow; col++ {
		w.builder.Column(col).AppendNull()
	}
}

func (w *Writer) end(eventTime int64) error {
	w.builder.EndRow(eventTime)
	return w.out.Emit(w.output, w.builder.Finish("", 0))
}

// cut makes UTF-8 of a reason, which may quote a guest, and shortens it at a rune's border.
func cut(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= MaxReasonBytes {
		return s
	}
	n := MaxReasonBytes
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n] + "…"
}

package udf

import (
	"fmt"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/platform/batch"
)

// refuse takes a cause out of the stream as configured: its row goes to the dead
// letters, as output of the same epoch, or the job fails.
func (o *Operator) refuse(b *batch.Batch, row int, why *refusal) error {
	place := placeOf(b, row)
	if o.config.Address != "" {
		place = " to " + o.addressOf(b, row)
	}
	if why.report != "" {
		o.ctx.Log.Error("calls of a function died of a record", "function", o.config.Function, "record", place, "report", why.report)
	}
	if o.dead == nil {
		return &UserError{Text: fmt.Sprintf("function %s refused a record%s: %s; mend the function or the record, or set `errors: dead_letter` to go on without such records",
			o.config.Function, place, why.reason)}
	}
	o.ctx.Meter.DeadLetters.Add(1)
	return o.dead.Row(why.reason, b, row)
}

// placeOf says where a row was read, if it is known.
func placeOf(b *batch.Batch, row int) string {
	if b.Origin == nil {
		return ""
	}
	return fmt.Sprintf(" of %s, partition %d, sequence %d, row %d", b.Origin.Topic, b.Origin.Partition, b.Origin.Sequences[row], b.Origin.Rows[row])
}

// metaColumns gives, once a batch, its origin as the columns of the meta section.
type metaColumns struct {
	partitions []int32
	sequences  []int64
	cols       [3]frame.Column
}

func (m *metaColumns) columns(b *batch.Batch) []frame.Column {
	if b.Origin == nil {
		return nil // not a first hop
	}
	n := b.Physical()
	m.partitions, m.sequences = m.partitions[:0], m.sequences[:0]
	for i := range n {
		m.partitions = append(m.partitions, b.Origin.Partition)
		m.sequences = append(m.sequences, int64(b.Origin.Sequences[i]))
	}
	s := frame.MetaSchema()
	m.cols[0] = frame.Fixed(&s.Fields[0].Type, m.partitions, nil)
	m.cols[1] = frame.Fixed(&s.Fields[1].Type, m.sequences, nil)
	m.cols[2] = frame.Fixed(&s.Fields[2].Type, b.Origin.Rows, nil)
	return m.cols[:]
}

package source

import (
	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/platform/batch"
)

// eventTimes gives a batch its event times and finds the latest one. It takes b
// over. Rows without one, where a column should have it, are rejected.
func (o *Operator) eventTimes(b *batch.Batch) (*batch.Batch, int64, error) {
	if o.column >= 0 {
		c := &b.Columns[o.column]
		if c.HasNulls() {
			var err error
			if b, err = o.dropNulls(b, c); err != nil {
				return nil, 0, err
			}
			c = &b.Columns[o.column]
		}
		// The batch is ours alone: its times may be those of the column where they stand.
		b.Times = c.Int64s()
	}
	latest := batch.NoTime
	if b.Times == nil {
		return b, latest, nil
	}
	if b.Sel == nil {
		for _, t := range b.Times[:b.Physical()] {
			latest = max(latest, t)
		}
		return b, latest, nil
	}
	for _, row := range b.Sel {
		latest = max(latest, b.Times[row])
	}
	return b, latest, nil
}

const nullTime = "its event time is null"

func (o *Operator) dropNulls(b *batch.Batch, c *frame.Column) (*batch.Batch, error) {
	keep := 0
	for i := range b.Len() {
		row := b.Row(i)
		if !c.Null(row) {
			keep++
			continue
		}
		if o.dead == nil {
			b.Release()
			return nil, errNullTime(o.config.EventTime)
		}
		o.ctx.Meter.DeadLetters.Add(1)
		if err := o.dead.Row(nullTime, b, row); err != nil {
			b.Release()
			return nil, err
		}
	}
	if keep == b.Len() {
		return b, nil
	}
	v := b.View()
	from := v.Sel // nil: all rows
	rows := v.Len()
	sel := make([]int32, 0, keep) // only batches with such rows come here
	for i := range rows {
		row := i
		if from != nil {
			row = int(from[i])
		}
		if !c.Null(row) {
			sel = append(sel, int32(row))
		}
	}
	copy(v.Select(keep), sel)
	return v, nil
}

type errNullTime string

func (e errNullTime) Error() string {
	return "a row has no event time: column " + string(e) + " is null; declare it without nulls, or send such rows to dead letters"
}

// UserFault marks the error for whoever decides about restarts.
func (e errNullTime) UserFault() bool { return true }

package jetstream

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/connector"
)

// projection is how the columns of a frame become the declared ones.
type projection struct {
	from  *schema.Schema
	steps []step
	views []frame.Column
	err   error // why it cannot be done
}

// step makes one declared column.
type step struct {
	column int // of the frame; -1: absent, so null
	widen  bool
	strict bool // the declared column has no nulls, the frame's may
}

// project finds columns by name; integers and floats may widen.
func project(from, to *schema.Schema) *projection {
	p := &projection{from: from, steps: make([]step, len(to.Fields))}
	for i, f := range to.Fields {
		c := from.Index(f.Name)
		if c < 0 {
			if !f.Type.Nullable {
				p.err = fmt.Errorf("the frame has no column %s: it has %s", schema.QuoteName(f.Name), from)
				return p
			}
			p.steps[i].column = -1
			continue
		}
		have := from.Fields[c].Type
		st := step{column: c, strict: have.Nullable && !f.Type.Nullable}
		want := f.Type
		have.Nullable, want.Nullable = false, false
		if !have.Equal(&want) {
			if !widens(have.Kind, want.Kind) {
				p.err = fmt.Errorf("column %s of the frame is %s, which does not widen to %s", schema.QuoteName(f.Name), have, want)
				return p
			}
			st.widen = true
		}
		p.steps[i] = st
	}
	return p
}

func widens(from, to schema.Kind) bool {
	switch {
	case from.Integer() && to.Integer():
		return from.Width() < to.Width()
	case from == schema.Float32:
		return to == schema.Float64
	case from.Integer() && to == schema.Float64:
		return from.Width() <= 4
	}
	return false
}

// plain tells whether the frame's columns serve as they stand.
func (p *projection) plain(cols []frame.Column) bool {
	for _, s := range p.steps {
		if s.column < 0 || s.widen || s.strict && cols[s.column].HasNulls() {
			return false
		}
	}
	return true
}

// fit prepares the frame at hand: as a whole batch if its columns serve as they
// stand, else for converting row by row. It takes buf over.
func (d *decoding) fit(buf *batch.Buffer) {
	f, want := &d.stored, d.cfg.Schema
	rawFrame := f.Schema.Equal(schema.Raw())
	d.whole = batch.New(want)
	if buf != nil {
		d.whole.Keep(buf)
	}
	switch {
	case f.Schema.Equal(want) && (!d.raw || d.decoder == nil):
		d.mode = asIs
		d.whole.SetColumns(f.Columns, f.Rows)
	case rawFrame:
		d.mode = decodeRows
		d.whole.SetColumns(nil, f.Rows)
	default:
		if d.fitting == nil || d.fitting.from != f.Schema {
			d.fitting = project(f.Schema, want)
		}
		if d.fitting.err != nil {
			d.bad, d.row, d.rows = d.fitting.err, 0, 1
			d.whole.Release()
			d.whole = nil
			return
		}
		d.mode = convertRows
		d.whole.SetColumns(nil, f.Rows)
		if d.fitting.plain(f.Columns) {
			d.mode = asIs
			d.whole.SetColumns(d.fitting.view(f.Columns, want), f.Rows)
		}
	}
	d.stamp(rawFrame)
}

// view gives the frame's columns as the declared ones; it holds until the next call.
func (p *projection) view(cols []frame.Column, to *schema.Schema) []frame.Column {
	p.views = p.views[:0]
	for i, s := range p.steps {
		c := cols[s.column]
		c.Type = &to.Fields[i].Type
		if !c.Type.Nullable {
			c.Validity = nil // it says of every value that it is there
		}
		p.views = append(p.views, c)
	}
	return p.views
}

// stamp gives the whole batch its times, kinds and origin.
func (d *decoding) stamp(rawFrame bool) {
	f, b := &d.stored, d.whole
	switch {
	case f.Times != nil:
		b.Times = f.Times
	case rawFrame:
		b.Times = f.Columns[rawTime].Int64s()
	default:
		stamp := micros(d.delivery)
		for i, times := 0, b.MakeTimes(); i < len(times); i++ {
			times[i] = stamp
		}
	}
	b.Kinds = f.Kinds
	o := b.MakeOrigin(d.cfg.Topic.Name, int32(d.partition))
	for i := range o.Sequences {
		o.Sequences[i] = d.delivery.stream
		o.Rows[i] = int32(i)
	}
}

var errNull = errors.New("a null stands in a column that has none")

// convert decodes or converts the next n rows of the frame at hand.
func (d *decoding) convert(n int, fetch *connector.Fetch) {
	d.kinds = d.kinds[:0]
	for row := d.row; row < d.row+n; row++ {
		rejected, err := d.convertRow(row)
		if err != nil {
			fetch.Rejected = append(fetch.Rejected, d.reject(rejected, d.delivery.stream, int32(row), err))
			continue
		}
		if d.stored.Kinds != nil {
			d.kinds = append(d.kinds, d.stored.Kinds[row])
		}
	}
	fetch.Batch = d.finish()
	if fetch.Batch != nil && d.stored.Kinds != nil {
		copy(fetch.Batch.MakeKinds(), d.kinds)
	}
}

// convertRow gives, with an error, the record as it stood.
func (d *decoding) convertRow(row int) (record, error) {
	r := record{timeMicros: d.whole.Time(row)}
	cols := d.stored.Columns
	if d.mode == decodeRows {
		if !cols[rawKey].Null(row) {
			r.key = cols[rawKey].BytesAt(row)
		}
		readRawRow(cols, row, &r)
		if err := d.append(&r, d.delivery.stream, int32(row)); err != nil {
			return cloneRecord(r), err
		}
		return record{}, nil
	}
	if err := d.fitting.appendRow(d.builder, cols, row); err != nil {
		d.builder.Cancel()
		return r, err
	}
	d.builder.EndRead(d.whole.Time(row), d.delivery.stream, int32(row))
	return record{}, nil
}

// cloneRecord copies what views a frame's memory.
func cloneRecord(r record) record {
	r.key, r.value = cloneBytes(r.key), cloneBytes(r.value)
	for name, v := range r.headers {
		r.headers[name] = cloneBytes(v)
	}
	return r
}

func cloneBytes(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append(make([]byte, 0, len(b)), b...)
}

func (p *projection) appendRow(b *batch.Builder, cols []frame.Column, row int) error {
	for i, s := range p.steps {
		to := b.Column(i)
		if s.column < 0 {
			to.AppendNull()
			continue
		}
		c := &cols[s.column]
		switch {
		case c.Null(row):
			if s.strict {
				return fmt.Errorf("column %s: %w: declare it nullable", schema.QuoteName(b.Schema().Fields[i].Name), errNull)
			}
			to.AppendNull()
		case !s.widen:
			to.AppendFrom(c, row)
		case to.Type().Kind == schema.Float64 && c.Type.Kind == schema.Float32:
			to.AppendFloat64(c.FloatAt(row))
		case to.Type().Kind == schema.Float64:
			to.AppendFloat64(float64(c.IntAt(row)))
		default:
			to.AppendInt(c.IntAt(row))
		}
	}
	return nil
}

func isAligned(b []byte) bool {
	return len(b) == 0 || uintptr(unsafe.Pointer(unsafe.SliceData(b)))%8 == 0
}

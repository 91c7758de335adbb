package aggregate

import (
	"fmt"
	"math"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/operator/native"
	"github.com/weirstream/weir/platform/storage/state"
)

// rowsBytes is the count of rows that stands first in a key's accumulators.
const rowsBytes = 8

// work is one batch on its way into the accumulators. Keys are numbered in the
// order in which the batch brings them.
type work struct {
	columns []frame.Column
	rows    []int32      // physical rows
	keys    []uint32     // of each row: its key's number
	signs   []int8       // of each row: 1, or -1 for one that is taken back; nil: all 1
	accs    [][]byte     // by key number
	slots   []state.Slot // by key number
	backend state.Backend
	before  bool // the value before each row is wanted too
}

func (w *work) sign(i int) int64 {
	if w.signs == nil {
		return 1
	}
	return int64(w.signs[i])
}

// folder is one aggregate.
type folder interface {
	shape() string // what the accumulator's bytes mean, for drift
	width() int
	place(offset int)
	// fold takes in a row.
	fold(w *work, i int) error
	// read writes the present value of a key.
	read(w *work, key uint32, v *vector, at int) error
}

// quick is a folder with a loop of its own over rows that are all inserts and
// of which only the value after each is wanted.
type quick interface {
	foldInserts(w *work, v *vector) error
}

// foldRows takes in all rows and writes the value after each, and before.
func foldRows(f folder, w *work, v *vector) error {
	if q, ok := f.(quick); ok && w.signs == nil && !w.before {
		return q.foldInserts(w, v)
	}
	at := 0
	for i, k := range w.keys {
		if w.before {
			if err := f.read(w, k, v, at); err != nil {
				return err
			}
			at++
		}
		if err := f.fold(w, i); err != nil {
			return err
		}
		if err := f.read(w, k, v, at); err != nil {
			return err
		}
		at++
	}
	return nil
}

// column is what aggregates of a column have in common. Their accumulator
// begins with the number of values that are not null.
type column struct {
	index      int
	aggregate  Aggregate
	typ        schema.Type
	retracting bool
	offset     int
}

const valuesBytes = 8

func (c *column) place(offset int) { c.offset = offset }
func (c *column) width() int       { return valuesBytes }
func (c *column) shape() string {
	return fmt.Sprintf("%s(%s:%s)", c.aggregate.Fn, c.aggregate.Column, c.typ)
}

// value finds a row's accumulator and counts the row; false if it is null.
func (c *column) value(w *work, i int) (acc []byte, col *frame.Column, ok bool) {
	col = &w.columns[c.index]
	if col.Null(int(w.rows[i])) {
		return nil, col, false
	}
	acc = w.accs[w.keys[i]][c.offset:]
	bump(acc, w.sign(i))
	return acc[valuesBytes:], col, true
}

// acc is a key's accumulator; false if no value is in it.
func (c *column) acc(w *work, key uint32) ([]byte, bool) {
	acc := w.accs[key][c.offset:]
	return acc[valuesBytes:], load(acc) > 0
}

func (c *column) overflow(limit string) error {
	return &native.RowError{Text: fmt.Sprintf("%s: the %s of column %s leaves %s; cast it to a wider type or to decimal upstream", c.aggregate.As, c.aggregate.Fn, c.aggregate.Column, limit)}
}

// countRows counts rows, whatever is in them.
type countRows struct{ offset int }

func (*countRows) shape() string      { return "count()" }
func (*countRows) width() int         { return 8 }
func (c *countRows) place(offset int) { c.offset = offset }

func (c *countRows) fold(w *work, i int) error {
	bump(w.accs[w.keys[i]][c.offset:], w.sign(i))
	return nil
}

func (c *countRows) read(w *work, key uint32, v *vector, at int) error {
	v.ints[at] = load(w.accs[key][c.offset:])
	return nil
}

func (c *countRows) foldInserts(w *work, v *vector) error {
	out := v.ints[:len(w.keys)]
	for i, k := range w.keys {
		acc := w.accs[k][c.offset : c.offset+8]
		n := load(acc) + 1
		store(acc, n)
		out[i] = n
	}
	return nil
}

type countValues struct{ column }

func (c *countValues) fold(w *work, i int) error {
	c.value(w, i)
	return nil
}

func (c *countValues) read(w *work, key uint32, v *vector, at int) error {
	v.ints[at] = load(w.accs[key][c.offset:])
	return nil
}

type sumInt struct{ column }

func (s *sumInt) width() int { return valuesBytes + 8 }

func (s *sumInt) fold(w *work, i int) error {
	acc, col, ok := s.value(w, i)
	if !ok {
		return nil
	}
	old, v := load(acc), col.IntAt(int(w.rows[i]))
	sum := old + v
	if w.sign(i) < 0 {
		sum = old - v
		v = ^v // the other sign, also of the least integer
	}
	if (old^sum)&(v^sum) < 0 {
		return s.overflow("int64")
	}
	store(acc, sum)
	return nil
}

func (s *sumInt) read(w *work, key uint32, v *vector, at int) error {
	if acc, ok := s.acc(w, key); ok {
		v.ints[at] = load(acc)
	} else {
		v.null(at)
	}
	return nil
}

// foldInserts is the loop that most pipelines run.
func (s *sumInt) foldInserts(w *work, v *vector) error {
	col := &w.columns[s.index]
	if col.Validity != nil || col.Type.Kind != schema.Int64 {
		for i, k := range w.keys {
			if err := s.fold(w, i); err != nil {
				return err
			}
			if err := s.read(w, k, v, i); err != nil {
				return err
			}
		}
		return nil
	}
	values, out := col.Int64s(), v.ints[:len(w.keys)]
	for i, k := range w.keys {
		acc := w.accs[k][s.offset : s.offset+valuesBytes+8]
		old, n := load(acc[valuesBytes:]), values[w.rows[i]]
		sum := old + n
		if (old^sum)&(n^sum) < 0 {
			return s.overflow("int64")
		}
		store(acc, load(acc)+1)
		store(acc[valuesBytes:], sum)
		out[i] = sum
	}
	return nil
}

// avgInt sums in 128 bits, so that only the mean has to fit.
type avgInt struct{ column }

func (a *avgInt) width() int { return valuesBytes + wideBytes }

func (a *avgInt) fold(w *work, i int) error {
	acc, col, ok := a.value(w, i)
	if !ok {
		return nil
	}
	v := wideOf(col.IntAt(int(w.rows[i])))
	if w.sign(i) < 0 {
		v = v.negate()
	}
	storeWide(acc, loadWide(acc).add(v))
	return nil
}

func (a *avgInt) read(w *work, key uint32, v *vector, at int) error {
	acc, ok := a.acc(w, key)
	if !ok {
		v.null(at)
		return nil
	}
	v.float(at, loadWide(acc).float()/float64(load(w.accs[key][a.offset:])))
	return nil
}

// decimals is the sum or the mean of a decimal column.
type decimals struct {
	column
	scale int // of the result
	mean  bool
}

func (d *decimals) width() int { return valuesBytes + wideBytes }

func (d *decimals) fold(w *work, i int) error {
	acc, col, ok := d.value(w, i)
	if !ok {
		return nil
	}
	var v wide
	v.hi, v.lo = col.Decimal(int(w.rows[i]))
	if w.sign(i) < 0 {
		v = v.negate()
	}
	sum := loadWide(acc).add(v)
	if !sum.fitsDecimal() {
		return d.overflow("decimal's 38 digits")
	}
	storeWide(acc, sum)
	return nil
}

func (d *decimals) read(w *work, key uint32, v *vector, at int) error {
	acc, ok := d.acc(w, key)
	if !ok {
		v.null(at)
		return nil
	}
	sum := loadWide(acc)
	if d.mean {
		by := uint64(math.Pow10(d.scale - d.typ.Scale)) // at most 10^6
		if sum, ok = sum.mean(by, uint64(load(w.accs[key][d.offset:]))); !ok {
			return d.overflow("decimal's 38 digits")
		}
	}
	v.decimal(at, sum)
	return nil
}

// floats is the sum or the mean of a float column. Rows that can be taken back
// are summed exactly, because x + y - x is not y in floating point.
type floats struct {
	column
	mean bool
}

func (f *floats) width() int {
	if f.retracting {
		return valuesBytes + exactBytes
	}
	return valuesBytes + 8
}

func (f *floats) shape() string {
	if f.retracting {
		return f.column.shape() + " exact"
	}
	return f.column.shape()
}

func (f *floats) fold(w *work, i int) error {
	acc, col, ok := f.value(w, i)
	if !ok {
		return nil
	}
	v := col.FloatAt(int(w.rows[i]))
	if f.retracting {
		exactAdd(acc, v, w.sign(i))
		return nil
	}
	store(acc, int64(math.Float64bits(math.Float64frombits(uint64(load(acc)))+v)))
	return nil
}

func (f *floats) read(w *work, key uint32, v *vector, at int) error {
	acc, ok := f.acc(w, key)
	if !ok {
		v.null(at)
		return nil
	}
	var sum float64
	if f.retracting {
		sum = exactValue(acc)
	} else {
		sum = math.Float64frombits(uint64(load(acc)))
	}
	if f.mean {
		sum /= float64(load(w.accs[key][f.offset:]))
	}
	v.float(at, sum)
	return nil
}

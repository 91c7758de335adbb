package join

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/operator/native"
	"github.com/weirstream/weir/platform/operator/operatortest"
)

type testRow = operatortest.Row

func newOperator() operator.Operator { return New() }

const (
	orders   = "id:int32?,what:utf8?,price:decimal(9,2),ok:bool"
	payments = "order:int64?,amount:float64?,small:float32,at:timestamp,raw:binary"
)

func spec(config string, changelog bool) operatortest.Spec {
	return operatortest.Spec{
		Plan: Plan, New: newOperator, Key: []string{"id"}, Config: config,
		Inputs: []native.Input{
			{Name: "orders", Schema: schema.MustParse(orders), Changelog: changelog},
			{Name: "payments", Schema: schema.MustParse(payments), Changelog: changelog},
		},
	}
}

const byOrder = `{"right_key":["order"],"right_prefix":"p_"}`

// generate makes rows of few keys on both sides, some of which are taken back.
func generate(changelog bool) func(r *rand.Rand) []operatortest.Event {
	return func(r *rand.Rand) []operatortest.Event {
		var events []operatortest.Event
		var held [sides][]testRow
		orNull := func(v any) any {
			if r.IntN(6) == 0 {
				return nil
			}
			return v
		}
		side := 0
		for i := range 150 {
			if r.IntN(4) == 0 {
				side = r.IntN(sides)
			}
			if rows := held[side]; changelog && len(rows) > 0 && r.IntN(20) < 8 {
				at := r.IntN(len(rows))
				taken := rows[at].As([]batch.Kind{batch.UpdateBefore, batch.Delete}[r.IntN(2)])
				taken.Time = int64(i)
				held[side] = slices.Delete(rows, at, at+1)
				events = append(events, operatortest.Event{Input: side, Row: taken})
				continue
			}
			key := orNull(int64(r.IntN(5)))
			next := operatortest.Of(int64(i), key, orNull([]string{"", "book", "pen"}[r.IntN(3)]), operatortest.DecimalOf(int64(r.IntN(3)-1)), r.IntN(2) == 0)
			if side == right {
				next = operatortest.Of(int64(i), key, orNull(float64(r.IntN(3))/2), float64(r.IntN(2)), int64(r.IntN(2)), string([]byte{byte(r.IntN(2))}))
			}
			if i%40 == 0 {
				next.Time = batch.NoTime
			}
			if changelog && r.IntN(2) == 0 {
				next.Kind = batch.UpdateAfter
			}
			held[side] = append(held[side], next)
			events = append(events, operatortest.Event{Input: side, Row: next})
		}
		return events
	}
}

// model joins by looking at every row of the other side.
func model(events []operatortest.Event) []testRow {
	var held [sides][]testRow
	var out []testRow
	for _, e := range events {
		key := e.Row.Values[0]
		if e.Row.Kind == batch.Insert || e.Row.Kind == batch.UpdateAfter {
			held[e.Input] = append(held[e.Input], e.Row)
		} else {
			at := slices.IndexFunc(held[e.Input], func(r testRow) bool { return r.Text() == e.Row.Text() })
			held[e.Input] = slices.Delete(held[e.Input], at, at+1)
		}
		for _, match := range held[sides-1-e.Input] {
			if key == nil || match.Values[0] != key {
				continue
			}
			l, r := e.Row, match
			if e.Input == right {
				l, r = match, e.Row
			}
			out = append(out, testRow{Kind: e.Row.Kind, Time: max(l.Time, r.Time), Values: append(slices.Clone(l.Values), r.Values[1:]...)})
		}
	}
	return out
}

func TestAJoinEqualsTheNestedLoop(t *testing.T) {
	t.Run("of inserts", func(t *testing.T) {
		s := spec(byOrder, false)
		if p := s.MustPlan(t); p.Changelog || p.Output.String() != orders+",p_amount:float64?,p_small:float32,p_at:timestamp,p_raw:binary" {
			t.Errorf("planned %s, changelog %v", p.Output, p.Changelog)
		}
		operatortest.Histories(t, s, operatortest.EveryRow, generate(false), model)
	})
	t.Run("of changelogs", func(t *testing.T) {
		operatortest.Histories(t, spec(byOrder, true), operatortest.EveryRow, generate(true), model)
	})
}

func small(config string, changelog bool) operatortest.Spec {
	in := native.Input{Schema: schema.MustParse("k:int64,v:utf8"), Changelog: changelog}
	return operatortest.Spec{Plan: Plan, New: newOperator, Key: []string{"k"}, Config: config, Inputs: []native.Input{in, in}}
}

func TestARowWaitsForItsMatchesAsLongAsItsTimeToLive(t *testing.T) {
	o := operatortest.Open(t, small(`{"right_prefix":"r_","ttl":"10s"}`, true), operatortest.KeepRows)
	defer o.Close()
	of := operatortest.Of
	const second = 1_000_000
	o.Advance(0)
	o.Process(left, of(1, int64(1), "a"))
	o.Advance(9 * second)
	o.Process(right, of(2, int64(1), "x"))
	o.Advance(11 * second) // a is gone, x is not
	o.Process(right, of(3, int64(1), "y"))
	o.Process(left, of(4, int64(1), "b"))
	o.Process(left, of(5, int64(1), "a").As(batch.Delete)) // takes back what has expired
	operatortest.Equal(t, "with a time to live", o.Rows, []testRow{
		of(2, int64(1), "a", "x"), of(4, int64(1), "b", "x"), of(4, int64(1), "b", "y"),
	})
}

func TestTheWatermarkIsTheLeastOfBothInputs(t *testing.T) {
	o := operatortest.Open(t, small(`{"right_prefix":"r_"}`, false), operatortest.KeepRows)
	defer o.Close()
	o.Watermark(left, element.Watermark{Time: 10})
	o.Watermark(right, element.Watermark{Time: 4})
	o.Watermark(right, element.Watermark{Time: 20})
	o.Watermark(left, element.Watermark{Time: element.MaxTime, Status: element.Finished})
	want := []element.Watermark{{Time: 4}, {Time: 10}, {Time: 20}}
	if !slices.Equal(o.Marks, want) {
		t.Errorf("watermarks %v, want %v", o.Marks, want)
	}
}

func TestOutputOfManyMatchesIsCut(t *testing.T) {
	o := operatortest.Open(t, small(`{"right_prefix":"r_"}`, false), operatortest.KeepRows)
	defer o.Close()
	alive := batch.Live()
	var rows []testRow
	for range 100 {
		rows = append(rows, operatortest.Of(1, int64(1), "a"))
	}
	o.Process(left, rows...)
	o.Process(right, rows...)
	if len(o.Rows) != 100*100 || batch.Live() != alive {
		t.Errorf("%d rows, %d batches alive", len(o.Rows), batch.Live()-alive)
	}
}

func TestOutputOfLongRowsIsCut(t *testing.T) {
	o := operatortest.Open(t, small(`{"right_prefix":"r_"}`, false), operatortest.DropRows)
	defer o.Close()
	long := operatortest.Of(1, int64(1), strings.Repeat("x", 512<<10))
	for range 20 {
		o.Process(left, long)
	}
	alive := batch.Live()
	o.Process(right, long, long)
	if batch.Live() != alive {
		t.Errorf("%d batches are alive", batch.Live()-alive)
	}
	if op := o.Operator.(*Operator); op.outBytes != 0 || op.out.Len() != 0 {
		t.Errorf("%d rows of %d bytes wait", op.out.Len(), op.outBytes)
	}
}

func TestATakenBackRowThatNeverCameFailsTheJob(t *testing.T) {
	for changelog, want := range map[bool]string{true: "was never there", false: "apply the pipeline again"} {
		o := operatortest.Open(t, small(`{"right_prefix":"r_"}`, changelog), operatortest.KeepRows)
		err := o.Try(right, operatortest.Of(1, int64(1), "a").As(batch.Delete))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q", err, want)
		}
		o.Close()
	}
}

func TestConfigurationsThatCannotWorkAreRefusedWithTheWayOut(t *testing.T) {
	inputs := func(l, r string) []native.Input {
		return []native.Input{{Schema: schema.MustParse(l)}, {Schema: schema.MustParse(r)}}
	}
	for _, c := range []struct {
		config string
		inputs []native.Input
		key    []string
		want   string
	}{
		{`{}`, inputs("k:int64", "k:int64,v:utf8")[:1], []string{"k"}, "two inputs, not 1"},
		{`{}`, inputs("k:int64", "k:int64,v:utf8"), nil, "add key:"},
		{`{}`, inputs("k:int64", "j:int64,v:utf8"), []string{"k"}, `the right input has no key column "k"; its columns are j, v`},
		{`{"right_key":["k","v"]}`, inputs("k:int64", "k:int64,v:utf8"), []string{"k"}, "right_key has 2 columns, the key 1"},
		{`{}`, inputs("k:int64", "k:utf8,v:utf8"), []string{"k"}, "are never equal"},
		{`{}`, inputs("k:int64,v:utf8", "k:int64,v:utf8"), []string{"k"}, "set right_prefix"},
		{`{}`, inputs("k:int64,l:list<int64>", "k:int64,v:utf8"), []string{"k"}, "which a join does not keep"},
		{`{"ttl":"soon"}`, inputs("k:int64", "k:int64,v:utf8"), []string{"k"}, "write it like 90m"},
		{`{"kind":"left"}`, inputs("k:int64", "k:int64,v:utf8"), []string{"k"}, "unknown field"},
	} {
		_, err := Plan(json.RawMessage(c.config), c.inputs, c.key)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v, want %q", c.config, err, c.want)
		}
	}
}

func FuzzAStoredRowIsReadOrRefused(f *testing.F) {
	c := Config{RightKey: []string{"order"}, RightPrefix: "p_"}
	l, err := c.layout(schema.MustParse(orders), schema.MustParse(payments), [][]string{{"id"}, {"order"}})
	if err != nil {
		f.Fatal(err)
	}
	b := operatortest.Batch(nil, schema.MustParse(orders), []testRow{operatortest.Of(1, int64(7), "book", operatortest.DecimalOf(-5), true)})
	f.Add(l.sides[left].appendRow(nil, b.Columns, 0, 1))
	f.Fuzz(func(t *testing.T, stored []byte) {
		out := batch.NewBuilder(l.out)
		for s := range l.sides {
			if l.sides[s].readRow(out.Rows, stored) != nil {
				return
			}
		}
		if out.Rows.Rows() != 1 {
			t.Error("a row was read and is not whole")
		}
	})
}

package aggregate

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/operator/native"
	"github.com/weirstream/weir/platform/operator/operatortest"
)

func newOperator() operator.Operator { return New() }

func spec(in native.Input, options string, aggregates ...string) operatortest.Spec {
	return operatortest.Spec{
		Plan: Plan, New: newOperator, Inputs: []native.Input{in}, Key: []string{in.Schema.Fields[0].Name},
		Config: fmt.Sprintf(`{"aggregates":[%s]%s}`, strings.Join(aggregates, ","), options),
	}
}

func all(in native.Input, options string) operatortest.Spec {
	var texts []string
	for _, a := range everything {
		texts = append(texts, a.text)
	}
	return spec(in, options, texts...)
}

func TestEveryFunctionEqualsAModelThatRecomputesEveryKey(t *testing.T) {
	inserts := native.Input{Name: "rows", Schema: columns}
	changes := native.Input{Name: "changes", Schema: columns, Changelog: true}
	for _, c := range []struct {
		name    string
		input   native.Input
		options string
		emit    Emit
		compare operatortest.Comparison
	}{
		{"inserts to updates", inserts, "", Updates, operatortest.EveryRow},
		{"inserts to a changelog", inserts, `,"emit":"changelog"`, Changelog, operatortest.EveryRow},
		{"a changelog to updates", changes, `,"emit":"updates","per":"row"`, Updates, operatortest.EveryRow},
		{"a changelog to a changelog", changes, `,"emit":"changelog"`, Changelog, operatortest.EveryRow},
		{"inserts to a changelog by batch", inserts, `,"emit":"changelog","per":"batch"`, Changelog, operatortest.WhatHolds},
		{"a changelog to a changelog by batch", changes, `,"emit":"changelog","per":"batch"`, Changelog, operatortest.WhatHolds},
	} {
		t.Run(c.name, func(t *testing.T) {
			operatortest.Histories(t, all(c.input, c.options), c.compare, generate(c.input), model(c.emit))
		})
	}
}

func TestUpdatesByBatchAreOneRowForEachKeyWithTheLatestTime(t *testing.T) {
	in := native.Input{Schema: schema.MustParse("k:int64,v:int64")}
	o := operatortest.Open(t, spec(in, `,"per":"batch"`, `{"fn":"sum","column":"v","as":"s"}`), operatortest.KeepRows)
	defer o.Close()
	of := operatortest.Of
	o.Process(0, of(5, int64(1), int64(10)), of(9, int64(2), int64(1)), of(7, int64(1), int64(20)))
	o.Process(0, of(3, int64(1), int64(5)))
	operatortest.Equal(t, "updates", o.Rows, []row{of(7, int64(1), int64(30)), of(9, int64(2), int64(1)), of(3, int64(1), int64(35))})
}

func TestAKeyWhoseRowsAreAllTakenBackLeavesNoState(t *testing.T) {
	in := native.Input{Schema: columns, Changelog: true}
	o := operatortest.Open(t, all(in, `,"emit":"changelog"`), operatortest.KeepRows)
	defer o.Close()
	r := operatortest.Of(1, "a", int64(1), int64(2), 0.5, operatortest.DecimalOf(3), "text")
	o.Process(0, r)
	o.Barrier()
	o.Process(0, r.As(batch.Delete))
	for _, e := range o.Barrier() {
		if !e.Tombstone {
			t.Errorf("%s of key %q is still there", e.State, e.Key)
		}
	}
	o.Advance(1)
	o.Advance(2)
	if st := o.State.Stats(); st.StateBytes > 0 && st.Keys > 0 {
		for range o.State.Keys() {
			t.Error("the key is still alive")
		}
	}
	if last := o.Rows[len(o.Rows)-1]; last.Kind != batch.Delete {
		t.Errorf("the last row is %s", last)
	}
}

func TestASumThatLeavesItsTypeNamesTheColumn(t *testing.T) {
	for _, c := range []struct {
		columns string
		values  []any
		fn      string
	}{
		{"k:int64,amount:int64", []any{int64(math.MaxInt64), int64(1)}, "sum"},
		{"k:int64,amount:int64?", []any{int64(math.MinInt64), int64(-1)}, "sum"},
		{"k:int64,amount:decimal(38,0)", []any{largest(), operatortest.DecimalOf(1)}, "sum"},
		{"k:int64,amount:decimal(38,0)", []any{largest()}, "avg"},
	} {
		in := native.Input{Schema: schema.MustParse(c.columns)}
		o := operatortest.Open(t, spec(in, "", fmt.Sprintf(`{"fn":%q,"column":"amount","as":"total"}`, c.fn)), operatortest.KeepRows)
		var err error
		alive := batch.Live()
		for _, v := range c.values {
			err = o.Try(0, operatortest.Of(1, int64(1), v))
		}
		var bad *native.RowError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), "column amount") || !bad.UserFault() {
			t.Errorf("%s: error is %v", c.columns, err)
		}
		if batch.Live() != alive {
			t.Errorf("%s: the refused batch is still alive", c.columns)
		}
		o.Close()
	}
}

// largest is 10^38 - 1.
func largest() operatortest.Decimal {
	n := new(big.Int).Exp(big.NewInt(10), big.NewInt(38), nil)
	n.Sub(n, big.NewInt(1))
	return operatortest.Decimal{Hi: new(big.Int).Rsh(n, 64).Int64(), Lo: new(big.Int).And(n, new(big.Int).SetUint64(math.MaxUint64)).Uint64()}
}

func TestTheLeastIntegerCanBeTakenBack(t *testing.T) {
	in := native.Input{Schema: schema.MustParse("k:int64,v:int64"), Changelog: true}
	o := operatortest.Open(t, spec(in, `,"emit":"changelog"`, `{"fn":"sum","column":"v","as":"s"}`), operatortest.KeepRows)
	defer o.Close()
	least := operatortest.Of(1, int64(1), int64(math.MinInt64))
	one := operatortest.Of(1, int64(1), int64(1))
	o.Process(0, one, least, least.As(batch.Delete))
	if got := o.Rows[len(o.Rows)-1].Text(); got != "int64:1, int64:1" {
		t.Errorf("the sum is %s", got)
	}
}

func TestInfinitiesAndNaNAreTakenBackExactly(t *testing.T) {
	in := native.Input{Schema: schema.MustParse("k:int64,v:float64"), Changelog: true}
	o := operatortest.Open(t, spec(in, "", `{"fn":"sum","column":"v","as":"s"}`, `{"fn":"max","column":"v","as":"m"}`), operatortest.KeepRows)
	defer o.Close()
	of := func(v float64) row { return operatortest.Of(1, int64(1), v) }
	inf, minus, nan := of(math.Inf(1)), of(math.Inf(-1)), of(math.NaN())
	o.Process(0, of(0.1), inf, minus, nan, nan.As(batch.Delete), minus.As(batch.Delete), inf.As(batch.Delete))
	var got []string
	for _, r := range o.Rows {
		got = append(got, fmt.Sprint(r.Values[1:]))
	}
	want := "[0.1 0.1] [+Inf +Inf] [NaN +Inf] [NaN NaN] [NaN +Inf] [+Inf +Inf] [0.1 0.1]"
	if text := strings.Join(got, " "); text != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
}

func TestATakenBackRowThatNeverCameFailsTheJob(t *testing.T) {
	in := native.Input{Schema: schema.MustParse("k:int64,v:int64"), Changelog: true}
	o := operatortest.Open(t, spec(in, "", `{"fn":"min","column":"v","as":"m"}`), operatortest.KeepRows)
	defer o.Close()
	o.Process(0, operatortest.Of(1, int64(1), int64(5)))
	for _, r := range []row{operatortest.Of(1, int64(2), int64(5)), operatortest.Of(1, int64(1), int64(6))} {
		if err := o.Try(0, r.As(batch.Delete)); err == nil || !strings.Contains(err.Error(), "takes back") {
			t.Errorf("%s: error is %v", r, err)
		}
	}
}

func TestARetractionIsRefusedWhereThePlannerSawInsertsOnly(t *testing.T) {
	in := native.Input{Schema: schema.MustParse("k:int64,v:int64")}
	o := operatortest.Open(t, spec(in, "", `{"fn":"min","column":"v","as":"m"}`), operatortest.KeepRows)
	defer o.Close()
	o.Process(0, operatortest.Of(1, int64(1), int64(5)))
	err := o.Try(0, operatortest.Of(1, int64(1), int64(5)).As(batch.Delete))
	if err == nil || !strings.Contains(err.Error(), "apply the pipeline again") {
		t.Errorf("error is %v", err)
	}
}

func TestWatermarksPassThrough(t *testing.T) {
	in := native.Input{Schema: schema.MustParse("k:int64,v:int64")}
	o := operatortest.Open(t, spec(in, "", `{"fn":"count","as":"n"}`), operatortest.KeepRows)
	defer o.Close()
	w := element.Watermark{Time: 7, Status: element.Idle}
	o.Watermark(0, w)
	if len(o.Marks) != 1 || o.Marks[0] != w {
		t.Errorf("watermarks %v", o.Marks)
	}
}

func TestConfigurationsThatCannotWorkAreRefusedWithTheWayOut(t *testing.T) {
	in := native.Input{Schema: schema.MustParse("k:int64,v:int64,s:utf8,l:list<int64>")}
	for config, want := range map[string]string{
		`{}`: "there are no aggregates",
		`{"aggregates":[{"fn":"median","column":"v","as":"m"}]}`:                                                    `"median" is unknown; the functions are`,
		`{"aggregates":[{"fn":"sum","column":"w","as":"m"}]}`:                                                       `no column "w"; its columns are k, v, s, l`,
		`{"aggregates":[{"fn":"sum","column":"s","as":"m"}]}`:                                                       "the column is utf8",
		`{"aggregates":[{"fn":"max","column":"l","as":"m"}]}`:                                                       "min and max take",
		`{"aggregates":[{"fn":"max","column":"s","as":"m"},{"fn":"max","column":"s","as":"n"}]}`:                    "max(s) is asked for twice",
		`{"aggregates":[{"fn":"count"}]}`:                                                                           "add as: NAME",
		`{"aggregates":[{"fn":"count","as":"k"}]}`:                                                                  "rename it by as:",
		`{"aggregates":[{"fn":"count","as":"n"}],"emit":"rows"}`:                                                    "updates or changelog",
		`{"aggregates":[{"fn":"count","as":"n"}],"per":"hour"}`:                                                     "row or batch",
		`{"aggregates":[{"fn":"count","as":"n"}],"every":"hour"}`:                                                   "unknown field",
		`{"aggregates":[` + strings.Repeat(`{"fn":"count","as":"n"},`, MaxAggregates) + `{"fn":"count","as":"n"}]}`: "the limit is 31",
	} {
		_, err := Plan(json.RawMessage(config), []native.Input{in}, []string{"k"})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error is %v, want %q", config, err, want)
		}
	}
	for _, key := range [][]string{nil, {"nobody"}, {"l"}} {
		if _, err := Plan(json.RawMessage(`{"aggregates":[{"fn":"count","as":"n"}]}`), []native.Input{in}, key); err == nil {
			t.Errorf("key %v was accepted", key)
		}
	}
}

func TestTheShapeOfStateTellsWhatItsBytesMean(t *testing.T) {
	in := native.Input{Schema: schema.MustParse("k:int64,v:int64,s:utf8")}
	shapeOf := func(changelog bool, aggregates ...string) string {
		in.Changelog = changelog
		p := spec(in, "", aggregates...).MustPlan(t)
		return fmt.Sprint(p.State)
	}
	sum, renamed := `{"fn":"sum","column":"v","as":"a"}`, `{"fn":"sum","column":"v","as":"b"}`
	if shapeOf(false, sum) != shapeOf(false, renamed) {
		t.Error("another name of a result changes the state")
	}
	if shapeOf(false, sum) == shapeOf(false, sum, `{"fn":"count","as":"n"}`) {
		t.Error("another aggregate leaves the shape as it is")
	}
	text, textRenamed := `{"fn":"max","column":"s","as":"a"}`, `{"fn":"max","column":"s","as":"b"}`
	if shapeOf(true, text) != shapeOf(true, textRenamed) {
		t.Error("another name of a result parts the states that belong together")
	}
	accumulatorsOf := func(changelog bool) string {
		in.Changelog = changelog
		return spec(in, "", text).MustPlan(t).State[0].Value
	}
	if accumulatorsOf(false) == accumulatorsOf(true) {
		t.Error("a maximum that kept no values passes for one that did")
	}
	if p := shapeOf(false, `{"fn":"min","column":"v","as":"a"}`); strings.Contains(p, "hosted") {
		t.Errorf("inserts need no map: %s", p)
	}
	if p := shapeOf(true, `{"fn":"min","column":"v","as":"a"}`); !strings.Contains(p, "hosted") {
		t.Errorf("a changelog needs a map: %s", p)
	}
}

func TestTheExactSumIsThatOfBigFloats(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		acc := make([]byte, exactBytes)
		want := new(big.Float).SetPrec(2200)
		for range 1 + r.IntN(20) {
			v := math.Float64frombits(r.Uint64())
			if math.IsNaN(v) || math.IsInf(v, 0) {
				v = math.SmallestNonzeroFloat64 * float64(r.IntN(9))
			}
			sign := int64(1 - 2*r.IntN(2))
			exactAdd(acc, v, sign)
			term := new(big.Float).SetFloat64(v)
			if sign < 0 {
				term.Neg(term)
			}
			want.Add(want, term)
			expected, _ := want.Float64()
			if got := exactValue(acc); got != expected {
				t.Fatalf("sum is %x, want %x", got, expected)
			}
		}
	}
}

package project

import (
	"encoding/json"
	"fmt"
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

type row = operatortest.Row

func newOperator() operator.Operator { return New() }

func spec(columns, config string) operatortest.Spec {
	return operatortest.Spec{
		Plan: Plan, New: newOperator, Config: config,
		Inputs: []native.Input{{Schema: schema.MustParse(columns), Changelog: true}},
	}
}

const wide = "a:int8,b:int16?,c:int32,d:int64,f:float32,g:float64?,t:timestamp,day:date32,m:decimal(10,2),s:utf8?,ok:bool"

// generate makes rows of few values, with nulls and all kinds of changes.
func generate(r *rand.Rand) []operatortest.Event {
	var events []operatortest.Event
	orNull := func(v any) any {
		if r.IntN(4) == 0 {
			return nil
		}
		return v
	}
	for i := range 200 {
		next := operatortest.Of(int64(i), int64(r.IntN(5)-2), orNull(int64(r.IntN(5)-2)), int64(r.IntN(5)), int64(r.IntN(5)),
			float64(r.IntN(5))/2, orNull(float64(r.IntN(5))/2), int64(r.IntN(5))*1_000_000, int64(r.IntN(5)),
			operatortest.DecimalOf(int64(r.IntN(5)-2)*50), orNull([]string{"", "x", "y"}[r.IntN(3)]), r.IntN(2) == 0)
		next.Kind = batch.Kind(r.IntN(4))
		events = append(events, operatortest.Event{Row: next})
	}
	return events
}

func modelOf(keep func(v []any) bool, shape func(r row) []any) operatortest.Model {
	return func(events []operatortest.Event) []row {
		var out []row
		for _, e := range events {
			if keep(e.Row.Values) {
				r := e.Row
				r.Values = shape(r)
				out = append(out, r)
			}
		}
		return out
	}
}

func asIs(r row) []any { return r.Values }

func TestPredicatesKeepTheRowsThatTheModelKeeps(t *testing.T) {
	for where, keep := range map[string]func(v []any) bool{
		`[{"column":"a","op":"<","value":0}]`:                                           func(v []any) bool { return v[0].(int64) < 0 },
		`[{"column":"b","op":"!=","value":1}]`:                                          func(v []any) bool { return v[1] != nil && v[1].(int64) != 1 },
		`[{"column":"b","op":"is_null"}]`:                                               func(v []any) bool { return v[1] == nil },
		`[{"column":"s","op":"not_null"},{"column":"d","op":">=","value":2}]`:           func(v []any) bool { return v[9] != nil && v[3].(int64) >= 2 },
		`[{"column":"d","op":"<=","value":"2"},{"column":"c","op":">","value":1}]`:      func(v []any) bool { return v[3].(int64) <= 2 && v[2].(int64) > 1 },
		`[{"column":"f","op":"=","value":1.5}]`:                                         func(v []any) bool { return v[4].(float64) == 1.5 },
		`[{"column":"g","op":">","value":0.5}]`:                                         func(v []any) bool { return v[5] != nil && v[5].(float64) > 0.5 },
		`[{"column":"t","op":">","value":"1970-01-01T00:00:02Z"}]`:                      func(v []any) bool { return v[6].(int64) > 2_000_000 },
		`[{"column":"t","op":"=","value":1000000}]`:                                     func(v []any) bool { return v[6].(int64) == 1_000_000 },
		`[{"column":"day","op":"<","value":"1970-01-03"}]`:                              func(v []any) bool { return v[7].(int64) < 2 },
		`[{"column":"m","op":"<=","value":-0.5}]`:                                       func(v []any) bool { return int64(v[8].(operatortest.Decimal).Lo) <= -50 },
		`[{"column":"s","op":">=","value":"x"}]`:                                        func(v []any) bool { return v[9] != nil && v[9].(string) >= "x" },
		`[{"column":"ok","op":"=","value":true}]`:                                       func(v []any) bool { return v[10].(bool) },
		`[{"column":"ok","op":"!=","value":true},{"column":"a","op":"!=","value":"2"}]`: func(v []any) bool { return !v[10].(bool) && v[0].(int64) != 2 },
		`[{"column":"a","op":">","value":100}]`:                                         func([]any) bool { return false },
	} {
		t.Run(where, func(t *testing.T) {
			operatortest.Histories(t, spec(wide, `{"where":`+where+`}`), operatortest.EveryRow, generate, modelOf(keep, asIs))
		})
	}
}

func TestColumnsAreChosenRenamedReorderedAndWidened(t *testing.T) {
	s := spec(wide, `{"columns":["s",{"column":"a","as":"a8","cast":"int64?"},{"column":"a","as":"a2","cast":"int16"},
		{"column":"b","cast":"int32?"},{"column":"c","cast":"int64"},{"column":"f","as":"f64","cast":"float64"},
		{"column":"ok","cast":"bool?"},{"column":"m","cast":"decimal(38,2)"}]}`)
	want := "s:utf8?,a8:int64?,a2:int16,b:int32?,c:int64,f64:float64,ok:bool?,m:decimal(38,2)"
	if got := s.MustPlan(t).Output.String(); got != want {
		t.Fatalf("output is %s, want %s", got, want)
	}
	operatortest.Histories(t, s, operatortest.EveryRow, generate, modelOf(
		func([]any) bool { return true },
		func(r row) []any {
			v := r.Values
			return []any{v[9], v[0], v[0], v[1], v[2], v[4], v[10], v[8]}
		}))
}

func TestTheKindOfAChangeCanBecomeAColumn(t *testing.T) {
	s := spec("k:int64", `{"kind_column":"op","where":[{"column":"k","op":"!=","value":3}]}`)
	if s.MustPlan(t).Changelog {
		t.Error("the output is still called a changelog")
	}
	o := operatortest.Open(t, s, operatortest.KeepRows)
	defer o.Close()
	of := operatortest.Of
	o.Process(0, of(1, int64(1)), of(2, int64(1)).As(batch.UpdateBefore), of(3, int64(3)), of(4, int64(2)).As(batch.UpdateAfter), of(5, int64(2)).As(batch.Delete))
	operatortest.Equal(t, "kinds", o.Rows, []row{of(1, int64(1), "+I"), of(2, int64(1), "-U"), of(4, int64(2), "+U"), of(5, int64(2), "-D")})
}

func TestBytesThatStayTheSameAreNotCopied(t *testing.T) {
	s := spec("a:int32,s:utf8,l:list<int64>", `{"columns":["l",{"column":"s","as":"text","cast":"utf8?"},"a"],"where":[{"column":"a","op":">","value":0}]}`)
	in := batch.NewBuilder(s.Inputs[0].Schema)
	for i := range 3 {
		in.Column(0).AppendInt32(int32(i))
		in.Column(1).AppendString("text")
		in.Column(2).AppendList()
		in.EndRow(0)
	}
	b := in.Finish("", 0)
	alive := batch.Live()
	var got *batch.Batch
	o := New()
	config, err := json.Marshal(s.MustPlan(t).Config)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Open(&operator.Context{Config: config, Inputs: []*schema.Schema{s.Inputs[0].Schema}, Output: take(func(b *batch.Batch) { got = b })}); err != nil {
		t.Fatal(err)
	}
	if err := o.Process(0, b); err != nil {
		t.Fatal(err)
	}
	if batch.Live() != alive+1 {
		t.Errorf("%d batches or buffers more, want the view alone", batch.Live()-alive)
	}
	if &got.Columns[1].Bytes[0] != &b.Columns[1].Bytes[0] || got.Len() != 2 {
		t.Error("the text was copied")
	}
	got.Release()
}

type take func(*batch.Batch)

func (f take) Emit(_ int, b *batch.Batch) error  { f(b); return nil }
func (f take) Watermark(element.Watermark) error { return nil }

func TestConfigurationsThatCannotWorkAreRefusedWithTheWayOut(t *testing.T) {
	for config, want := range map[string]string{
		`{"columns":["nobody"]}`:                                     `no column "nobody"; its columns are a, b`,
		`{"columns":[{"column":"d","cast":"int32"}]}`:                "column d is int64, which cannot be cast to int32 without loss; a project only widens",
		`{"columns":[{"column":"b","cast":"int16"}]}`:                "cannot be cast to int16 without loss",
		`{"columns":[{"column":"g","cast":"float32?"}]}`:             "without loss",
		`{"columns":[{"column":"d","cast":"float64"}]}`:              "without loss",
		`{"columns":[{"column":"d","cast":"number"}]}`:               "write a type like",
		`{"columns":["a","a"]}`:                                      "rename it by as:",
		`{"columns":[{"column":"a","rename":"b"}]}`:                  "unknown field",
		`{"where":[{"column":"x","op":"="}]}`:                        `no column "x"`,
		`{"where":[{"column":"a","op":"==","value":1}]}`:             `"==" is unknown; the operators are`,
		`{"where":[{"column":"a","op":"="}]}`:                        "say is_null",
		`{"where":[{"column":"a","op":"=","value":null}]}`:           "say is_null",
		`{"where":[{"column":"a","op":"=","value":1.5}]}`:            "1.5",
		`{"where":[{"column":"a","op":"=","value":"x"}]}`:            "is not a number",
		`{"where":[{"column":"m","op":"=","value":0.123}]}`:          "fractional digits",
		`{"where":[{"column":"ok","op":"<","value":true}]}`:          "no order",
		`{"where":[{"column":"t","op":"<","value":"now"}]}`:          "RFC 3339",
		`{"where":[{"column":"s","op":"<","value":4}]}`:              "is no string",
		`{"where":[{"column":"s","op":"is_null","value":4}]}`:        "leave the value out",
		`{"where":[` + strings.Repeat(`{},`, MaxPredicates) + `{}]}`: "the limit is 64",
	} {
		s := spec(wide, config)
		_, err := Plan(json.RawMessage(config), s.Inputs, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error is %v, want %q", config, err, want)
		}
	}
	if _, err := Plan(nil, spec(wide, "").Inputs, []string{"a"}); err == nil {
		t.Error("a key was accepted")
	}
}

func TestATypeWidensToTheTypesThatHoldAllOfItsValues(t *testing.T) {
	order := []string{"int8", "int16", "int32", "int64"}
	for i, from := range order {
		for j, to := range order {
			if got := Widens(typ(t, from), typ(t, to)); got != (i <= j) {
				t.Errorf("%s to %s: %v", from, to, got)
			}
		}
	}
	for pair, want := range map[string]bool{
		"float32 float64": true, "float64 float32": false, "int32 float64": false, "utf8 utf8?": true, "utf8? utf8": false,
		"utf8 binary": false, "decimal(5,2) decimal(9,2)": true, "decimal(5,2) decimal(9,3)": false, "timestamp int64": false,
		"list<int8> list<int8>?": true, "list<int8> list<int16>": false, "int8? int64?": true,
	} {
		from, to, _ := strings.Cut(pair, " ")
		if got := Widens(typ(t, from), typ(t, to)); got != want {
			t.Errorf("%s: %v", pair, got)
		}
	}
}

func typ(t *testing.T, text string) schema.Type {
	t.Helper()
	out, err := schema.ParseType(text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func BenchmarkFilterAndWiden(b *testing.B) {
	s := spec("k:int64,v:int32,s:utf8", `{"columns":["s",{"column":"v","cast":"int64"}],"where":[{"column":"k","op":"<","value":512}]}`)
	o := operatortest.Open(b, s, operatortest.DropRows)
	defer o.Close()
	var rows []row
	for i := range 1024 {
		rows = append(rows, operatortest.Of(1, int64(i), int64(i), fmt.Sprint(i)))
	}
	in := operatortest.Batch(nil, s.Inputs[0].Schema, slices.Clip(rows))
	b.ReportAllocs()
	for b.Loop() {
		if err := o.Operator.Process(0, in.Retain()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(1024*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	in.Release()
}

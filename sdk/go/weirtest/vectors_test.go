package weirtest

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	weir "github.com/weirstream/weir/sdk/go"
	"github.com/weirstream/weir/sdk/go/internal/guest"
	"github.com/weirstream/weir/sdk/go/internal/record"
	"github.com/weirstream/weir/sdk/go/internal/wire"
)

const vectorsDir = "../../../abi/testdata/vectors/"

func readVectors(t *testing.T, name string, into any) {
	t.Helper()
	data, err := os.ReadFile(vectorsDir + name + ".json")
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return append(make([]byte, 0, len(b)+8), b...) // at a multiple of 8
}

// vectorValue turns a value of a vector into the harness's.
func vectorValue(v any) any {
	switch x := v.(type) {
	case string:
		return x
	case map[string]any:
		if f, ok := x["float"]; ok {
			n, err := strconv.ParseFloat(f.(string), 64)
			if err != nil {
				panic(err)
			}
			return n
		}
		b, err := hex.DecodeString(x["hex"].(string))
		if err != nil {
			panic(err)
		}
		return b
	case []any:
		m := map[string][]byte{}
		for _, e := range x {
			b, _ := vectorValue(e.([]any)[1]).([]byte)
			m[e.([]any)[0].(string)] = b
		}
		return m
	}
	return v
}

func typed(t typ, v any) any {
	list, ok := v.([]any)
	switch {
	case !ok || t.isHeaders():
	case t.name == "list":
		out := []any{}
		for _, x := range list {
			out = append(out, typed(t.fields[0].typ, x))
		}
		return out
	case t.name == "map":
		out := []entry{}
		for _, e := range list {
			out = append(out, entry{typed(t.fields[0].typ, e.([]any)[0]), typed(t.fields[1].typ, e.([]any)[1])})
		}
		return out
	case t.name == "struct":
		out := map[string]any{}
		for i, f := range t.fields {
			out[f.name] = typed(f.typ, list[i])
		}
		return out
	}
	s, ok := vectorValue(v).(string)
	if !ok || t.name == "utf8" {
		return vectorValue(v)
	}
	n, _ := new(big.Int).SetString(s, 10)
	if t.name == "decimal" {
		return n
	}
	return n.Int64()
}

// preorder are the kinds of a type's nodes.
func preorder(out []wire.Kind, t typ) []wire.Kind {
	out = append(out, kinds[t.name])
	if t.name == "map" {
		out = append(out, wire.Struct)
	}
	for _, f := range t.fields {
		out = preorder(out, f.typ)
	}
	return out
}

var kinds = map[string]wire.Kind{
	"bool": wire.Bool, "int8": wire.Int8, "int16": wire.Int16, "int32": wire.Int32, "int64": wire.Int64, "float32": wire.Float32, "float64": wire.Float64,
	"list": wire.List, "struct": wire.Struct, "map": wire.Map, "decimal": wire.Decimal, "utf8": wire.Utf8, "binary": wire.Binary, "date32": wire.Date32, "timestamp": wire.Timestamp,
}

func TestSchemasOfTheVectorsAreRead(t *testing.T) {
	var v struct{ Good []struct{ Text string } }
	readVectors(t, "schemas", &v)
	for _, s := range v.Good {
		if _, err := parseSchema(s.Text); err != nil {
			t.Error(err)
		}
	}
}

func TestBlocksOfTheVectorsAreReadAndWrittenByteForByte(t *testing.T) {
	var v []struct {
		Schema, Block string
		Rows          int
		Columns       [][]any
	}
	readVectors(t, "blocks", &v)
	done := 0
	for _, x := range v {
		cols, err := parseSchema(x.Schema)
		if err != nil {
			t.Fatal(err)
		}
		done++
		want := make([][]any, len(cols))
		var ks []wire.Kind
		for i, c := range cols {
			ks = preorder(ks, c.typ)
			want[i] = make([]any, x.Rows)
			for j := range want[i] {
				want[i][j] = typed(c.typ, x.Columns[i][j])
			}
		}
		block := unhex(t, x.Block)
		got, rows, err := decodeBlock(cols, block)
		if err != nil || rows != x.Rows || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: read %v, %v; want %v", x.Schema, got, err, want)
		}
		if written, err := encodeBlock(cols, want, x.Rows); err != nil || !bytes.Equal(written, block) {
			t.Errorf("%s: wrote\n%x, %v; want\n%x", x.Schema, written, err, block)
		}
		var b wire.Block
		if err := b.Parse(block, ks); err != nil || b.Rows != x.Rows {
			t.Errorf("%s: the guest reads %d rows, %v", x.Schema, b.Rows, err)
		}
	}
	if done < 8 {
		t.Errorf("only %d blocks", done)
	}
}

type vectorInts struct {
	A *bool
	B int8
	C weir.Null[int16]
	D int32
	E *int64
}

type vectorFloats struct {
	F float32
	G *float64
	H weir.Null[weir.Decimal] `weir:"h,decimal(38,2)"`
}

type vectorTexts struct {
	S *string
	B []byte
}

type vectorList struct {
	L []*int32 `weir:"l,null"`
}

type vectorPoint struct {
	P *struct {
		X weir.Null[int32]
		Y string
	}
}

type vectorMap struct {
	M map[string]*[]byte
}

type vectorLists struct{ L [][]string }

func TestStructsAreLaidOverTheBlocksOfTheVectors(t *testing.T) {
	var v []struct {
		Schema, Block string
		Rows          int
	}
	readVectors(t, "blocks", &v)
	for _, x := range v {
		block := unhex(t, x.Block)
		switch x.Schema {
		case "a:bool?,b:int8,c:int16?,d:int32,e:int64?":
			relay[vectorInts](t, x.Schema, block, x.Rows)
		case "f:float32,g:float64?,h:decimal(38,2)?":
			relay[vectorFloats](t, x.Schema, block, x.Rows)
		case "s:utf8?,b:binary":
			relay[vectorTexts](t, x.Schema, block, x.Rows)
		case "l:list<int32?>?":
			relay[vectorList](t, x.Schema, block, x.Rows)
		case "p:struct<x:int32?,y:utf8>?":
			relay[vectorPoint](t, x.Schema, block, x.Rows)
		case "m:map<utf8,binary?>":
			relay[vectorMap](t, x.Schema, block, x.Rows)
		case "l:list<list<utf8>>":
			relay[vectorLists](t, x.Schema, block, x.Rows)
		case "a:int64,s:utf8?":
		default:
			t.Errorf("no Go type stands for the schema %s", x.Schema)
		}
	}
}

// relay loads a block into structs and stores them again: the same bytes.
func relay[T any](t *testing.T, schema string, block []byte, rows int) {
	t.Helper()
	cols, err := record.ColumnsOf(reflect.TypeFor[T]())
	if err != nil {
		t.Fatal(err)
	}
	if cols.Text() != schema {
		t.Fatalf("columns %s, want %s", cols.Text(), schema)
	}
	var b wire.Block
	if err := b.Parse(block, cols.Kinds); err != nil {
		t.Fatal(err)
	}
	structs := make([]T, rows)
	p, size := unsafe.Pointer(&structs[0]), unsafe.Sizeof(structs[0])
	if err := cols.Load(p, size, &b, 0, rows); err != nil {
		t.Fatal(err)
	}
	var out wire.Builder
	out.Reset(1, 1)
	out.Begin(2, 1, 0)
	cols.Store(&out, p, size, rows)
	out.End()
	sections, err := decodeContainer(1, out.Finish())
	if err != nil {
		t.Fatal(err)
	}
	if got := find(sections, 2, 0); !bytes.Equal(got, block) {
		t.Errorf("%s: stored\n%x, want\n%x", schema, got, block)
	}
}

func TestKeysOfTheVectorsAreWrittenByteForByte(t *testing.T) {
	var v struct {
		Groups []struct {
			Schema, Block string
			Keys          []struct{ Key string }
		}
	}
	readVectors(t, "keys", &v)
	for _, g := range v.Groups {
		cols, err := parseSchema(g.Schema)
		if err != nil {
			t.Fatal(err)
		}
		values, rows, err := decodeBlock(cols, unhex(t, g.Block))
		if err != nil || rows != len(g.Keys) {
			t.Fatalf("%s: %d rows, %v", g.Schema, rows, err)
		}
		for i := range rows {
			key := make([]any, len(cols))
			for c := range cols {
				key[c] = values[c][i]
			}
			if got := hex.EncodeToString(canonicalKey(cols, key)); got != g.Keys[i].Key {
				t.Errorf("%s: key of %v is %s, want %s", g.Schema, key, got, g.Keys[i].Key)
			}
			if len(key) == 1 {
				checkMapKey(t, g.Keys[i].Key, key[0])
			}
		}
	}
}

// checkMapKey writes the key as the guest does it for maps.
func checkMapKey(t *testing.T, want string, v any) {
	t.Helper()
	var b []byte
	switch x := v.(type) {
	case bool:
		b = wire.AppendKeyBool(nil, x)
	case int64:
		b = wire.AppendKeyInt(nil, x)
		if back, ok := wire.KeyInt(b); !ok || back != x {
			t.Errorf("key of %d is read as %d", x, back)
		}
	case float64:
		b = wire.AppendKeyFloat(nil, x)
		if back, ok := wire.KeyFloat(b); !ok || back != x && !math.IsNaN(x) {
			t.Errorf("key of %v is read as %v", x, back)
		}
	case string:
		b = wire.AppendKeyString(nil, x)
	default:
		return
	}
	if hex.EncodeToString(b) != want {
		t.Errorf("map key of %v is %x, want %s", v, b, want)
	}
}

type vectorCount struct {
	Count weir.Null[int32]
	Last  *time.Time
}

type vectorMixed struct {
	B bool
	F float64
	G float32
	D weir.Decimal `weir:"d,decimal(9,2),16"`
	S string       `weir:"s,65535"`
}

type vectorInner struct {
	X int8
	Y string
}

type vectorNested struct {
	P vectorInner
	L [][]string
}

type vectorOptional struct {
	A weir.Null[int8]
	Z weir.Null[int64] `weir:"z,7"`
}

func decodeRow[T any](t *testing.T, b []byte) (v T, row *record.Row, err error) {
	t.Helper()
	row, err = record.RowOf(reflect.TypeFor[T]())
	if err != nil {
		t.Fatal(err)
	}
	err = row.Decode(unsafe.Pointer(&v), b)
	return v, row, err
}

func checkRow[T any](t *testing.T, schema string, b []byte) T {
	t.Helper()
	v, row, err := decodeRow[T](t, b)
	if err != nil {
		t.Fatalf("%s: %v", schema, err)
	}
	if again := row.Append(nil, unsafe.Pointer(&v)); !bytes.Equal(again, b) {
		t.Errorf("%s: wrote %x, want %x", schema, again, b)
	}
	if n := row.Size(unsafe.Pointer(&v)); n < len(b) {
		t.Errorf("%s: %d bytes are no bound of %d", schema, n, len(b))
	}
	return v
}

func TestRowsOfTheVectorsAreReadAndWrittenByteForByte(t *testing.T) {
	var v struct {
		Good    []struct{ Schema, Row string }
		Skipped struct{ Row string }
		Bad     []string
	}
	readVectors(t, "rows", &v)
	seen := 0
	for _, x := range v.Good {
		b := unhex(t, x.Row)
		seen++
		switch x.Schema {
		case "1:count:int32,2:last:timestamp?":
			if c := checkRow[vectorCount](t, x.Schema, b); c.Count.V != -3 && c.Count.V != 300 {
				t.Errorf("%s: read %v", x.Schema, c)
			}
		case "1:b:bool,2:f:float64,3:g:float32,16:d:decimal(9,2),65535:s:utf8":
			m := checkRow[vectorMixed](t, x.Schema, b)
			if !m.B || m.F != 0.1 || m.G != 1.5 || m.D.String() != "-1.50" || m.S != "ü" {
				t.Errorf("%s: read %v", x.Schema, m)
			}
		case "1:value:list<int64?>":
			l := checkRow[[]weir.Null[int64]](t, x.Schema, b)
			if want := []weir.Null[int64]{weir.Some[int64](5), {}, weir.Some[int64](-1)}; !reflect.DeepEqual(l, want) {
				t.Errorf("%s: read %v, want %v", x.Schema, l, want)
			}
		case "1:p:struct<x:int8,y:utf8>,2:l:list<list<utf8>>":
			if n := checkRow[vectorNested](t, x.Schema, b); n.P != (vectorInner{7, "in"}) || len(n.L) != 1 || n.L[0][0] != "z" {
				t.Errorf("%s: read %v", x.Schema, n)
			}
		default:
			seen--
		}
	}
	if seen < 5 {
		t.Errorf("only %d rows were known", seen)
	}
	if o, _, err := decodeRow[vectorOptional](t, unhex(t, v.Skipped.Row)); err != nil || o.A.V != 1 || o.Z.V != -9 {
		t.Errorf("unknown fields: read %v, %v", o, err)
	}
	for _, x := range v.Bad {
		if o, _, err := decodeRow[vectorOptional](t, unhex(t, x)); err == nil {
			t.Errorf("damaged row %s is read as %v", x, o)
		}
	}
}

type vectorIn struct {
	K string
	N int32
}

type vectorOut struct {
	K     string
	Total int64
}

type vectorTotal struct{ Total int64 }

var (
	vectorFn    = weir.Keyed("vectors", "k")
	vectorRows  = weir.In[vectorIn](vectorFn, "in")
	vectorOuts  = weir.Out[vectorOut](vectorFn)
	vectorState = weir.ValueOf[vectorTotal](vectorFn, "total")
	vectorTimer = weir.EventTimer(vectorFn, "timer")

	failingFn    = weir.Keyed("vectors_failing", "k")
	failingRows  = weir.In[vectorIn](failingFn, "in")
	failingOuts  = weir.Out[vectorOut](failingFn)
	failingState = weir.ValueOf[vectorTotal](failingFn, "total")
)

func init() {
	vectorRows.On(func(ctx *weir.Context, r *vectorIn) error {
		s := vectorState.Edit(ctx)
		s.Total += int64(r.N)
		vectorOuts.Emit(ctx, vectorOut{r.K, s.Total})
		switch at := time.UnixMicro(900); r.N {
		case 1:
			vectorTimer.Set(ctx, at)
		case 3:
			vectorTimer.Delete(ctx, at)
		}
		return nil
	})
	vectorTimer.On(func(ctx *weir.Context, at time.Time) error {
		if at.UnixMicro() != 900 || weir.Key[string](ctx) != "a" || ctx.Watermark().UnixMicro() != 950 {
			return fmt.Errorf("fired at %v for %q, watermark %v", at, weir.Key[string](ctx), ctx.Watermark())
		}
		vectorState.Clear(ctx)
		return nil
	})
	failingRows.On(func(ctx *weir.Context, r *vectorIn) error {
		s, _ := failingState.Get(ctx)
		failingOuts.Emit(ctx, vectorOut{r.K, s.Total + int64(r.N)})
		if r.N == 2 {
			failingState.Set(ctx, vectorTotal{99})
			return errors.New("no such n")
		}
		return nil
	})
}

func TestCallsOfTheVectorsGiveTheirEffects(t *testing.T) {
	var v struct {
		Input, Output, State string
		Calls                []struct{ Name, Call, Effects string }
	}
	readVectors(t, "calls", &v)
	for _, x := range v.Calls {
		name := "vectors"
		if strings.Contains(x.Name, "fails") {
			name = "vectors_failing"
		}
		h := New(t, name, Settled())
		if h.fn.Inputs[0].Columns != v.Input || h.fn.Outputs[0].Columns != v.Output {
			t.Fatalf("%s: columns %s and %s", name, h.fn.Inputs[0].Columns, h.fn.Outputs[0].Columns)
		}
		h.overlay = &overlay{}
		var answer []byte
		guest.Enter(imports{h}, func() { answer = bytes.Clone(h.instance.Call(h.handle, unhex(t, x.Call))) })
		want := effectsText(t, h, unhex(t, x.Effects))
		if got := effectsText(t, h, answer); got != want {
			t.Errorf("%s: effects\n%swant\n%s", x.Name, got, want)
		}
	}
}

// effectsText writes effects value for value.
func effectsText(t *testing.T, h *Harness, b []byte) string {
	t.Helper()
	sections, err := decodeContainer(2, b)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, s := range sections {
		var body any = s.body
		switch s.id {
		case 2:
			body = string(s.body)
		case 3:
			body, _, err = decodeBlock(h.fn.Outputs[s.index].cols, s.body)
		case 7:
			body, _, err = decodeBlock(writeSchema, s.body)
		case 8:
			body, _, err = decodeBlock(timerSchema, s.body)
		}
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, "section %d of %d, must understand %v: %v\n", s.id, s.index, s.must, body)
	}
	return text.String()
}

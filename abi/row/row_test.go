package row

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
)

type rowVector struct {
	Schema, Row string
	JSON        json.RawMessage
}

type rowVectors struct {
	Good    []rowVector
	Skipped rowVector
	Bad     []string
}

func load(t testing.TB) (v rowVectors) {
	b, err := os.ReadFile("../testdata/vectors/rows.json")
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func unhex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func parse(t testing.TB, text string) *Schema {
	s, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if s.String() != text {
		t.Fatalf("%s is written as %s", text, s)
	}
	return s
}

func sameJSON(a, b []byte) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}

func TestRowsOfTheVectorsAreReadAndWritten(t *testing.T) {
	v := load(t)
	for _, g := range append(v.Good, v.Skipped) {
		s, b := parse(t, g.Schema), unhex(t, g.Row)
		text, err := ToJSON(s, b)
		if err != nil || !sameJSON(text, g.JSON) {
			t.Errorf("%s: %s, want %s (%v)", g.Schema, text, g.JSON, err)
		}
	}
	for _, g := range v.Good {
		b, err := FromJSON(parse(t, g.Schema), g.JSON)
		if err != nil || !bytes.Equal(b, unhex(t, g.Row)) {
			t.Errorf("%s: %x, want %s (%v)", g.Schema, b, g.Row, err)
		}
	}
	for _, bad := range v.Bad {
		r := NewReader(unhex(t, bad))
		for _, _, ok := r.Next(); ok; _, _, ok = r.Next() {
		}
		if !errors.Is(r.Err(), ErrRow) {
			t.Errorf("%s is accepted", bad)
		}
	}
}

func TestTheWriterMakesTheVectorsFieldByField(t *testing.T) {
	v := load(t)
	b := AppendInt(nil, 1, -3)
	b = AppendInt(b, 2, 1000000)
	if hex.EncodeToString(b) != v.Good[0].Row {
		t.Errorf("%x, want %s", b, v.Good[0].Row)
	}
	b = AppendBool(nil, 1, true)
	b = AppendFloat64(b, 2, 0.1)
	b = AppendFloat32(b, 3, 1.5)
	b = AppendDecimal(b, 16, 2, -1, ^uint64(149))
	b = AppendBytes(b, 65535, "ü")
	if hex.EncodeToString(b) != v.Good[2].Row {
		t.Errorf("%x, want %s", b, v.Good[2].Row)
	}
	list := AppendIntValue(AppendPresent(AppendCount(nil, 3)), 5)
	list = AppendIntValue(AppendPresent(AppendAbsent(list)), -1)
	if got := AppendBytes(nil, 1, list); hex.EncodeToString(got) != v.Good[3].Row {
		t.Errorf("%x, want %s", got, v.Good[3].Row)
	}
}

func TestReadingARowAllocatesNothing(t *testing.T) {
	b := unhex(t, load(t).Good[2].Row)
	var sum float64
	if n := testing.AllocsPerRun(100, func() {
		r := NewReader(b)
		for id, _, ok := r.Next(); ok; id, _, ok = r.Next() {
			sum += float64(id) + r.Float64() + float64(r.Int())
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestShapesThatMayFollowEachOther(t *testing.T) {
	for _, c := range []struct {
		old, new string
		ok       bool
	}{
		{"1:a:int32", "1:a:int64", true}, {"1:a:int64", "1:a:int32", false}, {"1:a:int8", "1:renamed:int8?", true},
		{"1:a:int32,2:b:utf8", "2:b:utf8,3:c:bool", true}, {"1:a:float32", "1:a:float64", true}, {"1:a:float64", "1:a:float32", false},
		{"1:a:utf8", "1:a:binary", false}, {"1:a:int64", "1:a:timestamp", false}, {"1:a:decimal(9,2)", "1:a:decimal(12,3)", true},
		{"1:a:decimal(9,2)", "1:a:decimal(9,3)", false}, {"1:a:list<int8>", "1:a:list<int64?>", true}, {"1:a:list<float32>", "1:a:list<float64>", false},
		{"1:a:struct<x:int8>", "1:a:struct<x:int16,y:utf8>", true}, {"1:a:struct<x:int8,y:int8>", "1:a:struct<y:int8,x:int8>", false},
		{"1:a:map<int8,int8>", "1:a:map<int16,int8>", false}, {"1:a:map<utf8,int8>", "1:a:map<utf8,int16>", true},
	} {
		err := Compatible(parse(t, c.old), parse(t, c.new))
		if (err == nil) != c.ok {
			t.Errorf("%s to %s: %v", c.old, c.new, err)
		}
		var drift *DriftError
		if err != nil && (!errors.As(err, &drift) || !strings.Contains(err.Error(), c.old) || !strings.Contains(err.Error(), c.new)) {
			t.Errorf("%s to %s: the error does not name both shapes: %v", c.old, c.new, err)
		}
	}
}

func TestBadShapesAreRefused(t *testing.T) {
	for _, text := range []string{"", "a:int8", "0:a:int8", "65536:a:int8", "01:a:int8", "2:a:int8,1:b:int8", "1:a:int8,1:b:int8", "1:a:int8,2:a:int8", "1:a:what", "1:a:int8,b:int8", "1:a:int8,"} {
		if s, err := Parse(text); err == nil {
			t.Errorf("%q is accepted as %s", text, s)
		}
	}
}

func FuzzRow(f *testing.F) {
	v := load(f)
	var schemas []*Schema
	for i, g := range v.Good {
		schemas = append(schemas, parse(f, g.Schema))
		f.Add(uint8(i), unhex(f, g.Row))
	}
	for _, bad := range v.Bad {
		f.Add(uint8(0), unhex(f, bad))
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		s := schemas[int(which)%len(schemas)]
		text, err := ToJSON(s, b)
		if err != nil {
			return
		}
		if !json.Valid(text) {
			t.Fatalf("no JSON: %s", text)
		}
	})
}

func FuzzParseSchema(f *testing.F) {
	f.Add("1:count:int32,2:last:timestamp?")
	f.Add("1:m:map<utf8,binary?>,9:`a,b`:decimal(9,2)")
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := Parse(text); err == nil && s.String() != text {
			t.Fatalf("%q is written as %q", text, s)
		}
	})
}

func FuzzFromJSON(f *testing.F) {
	v := load(f)
	var schemas []*Schema
	for i, g := range v.Good {
		schemas = append(schemas, parse(f, g.Schema))
		f.Add(uint8(i), []byte(g.JSON))
	}
	f.Fuzz(func(t *testing.T, which uint8, text []byte) {
		s := schemas[int(which)%len(schemas)]
		b, err := FromJSON(s, text)
		if err != nil {
			return
		}
		shown, err := ToJSON(s, b)
		if err != nil {
			t.Fatalf("%s becomes %x: %v", text, b, err)
		}
		again, err := FromJSON(s, shown)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%s becomes %x, shown as %s, and that %x (%v)", text, b, shown, again, err)
		}
	})
}

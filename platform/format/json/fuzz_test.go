package json

import (
	"bytes"
	stdjson "encoding/json"
	"math/big"
	"reflect"
	"regexp"
	"strconv"
	"testing"
	"unicode/utf8"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/format"
)

var seeds = []string{
	`{}`, `{"a":1,"s":"x","f":1.5,"l":[1,2],"o":{"b":true,"t":"y"},"m":{"k":"v"}}`, `{"a":1,"a":2}`, `{"s":"\ud83d\ude00\ud83d"}`,
	`{"a":-0,"f":-0.0}`, `{"f":1e400}`, `{"a":1e2}`, `{"x":[[[{"y":null}]]]}`, `[]`, `nul`, `{"s":"` + "\x80" + `"}`, `{"a":9223372036854775807}`,
	`{"o":{"b":false,"b":true},"o":null}`, `{"m":{"k":"1","k":"2"}}`, ` {"l":[null , 3]}`, `{"s":"0123456789\\abcdef\u0000"}`, `{"":0}`, `{"a":1}}`,
}

var longExponent = regexp.MustCompile(`[eE][+-]?[0-9]{4}`)

// FuzzDecodeAgreesWithTheStandardLibrary compares what is JSON and what stands
// in the columns with encoding/json.
func FuzzDecodeAgreesWithTheStandardLibrary(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	s := schema.MustParse("a:int64?,s:utf8?,f:float64?,l:list<int32?>?,o:struct<b:bool?,t:utf8?>?,m:map<utf8,utf8>?")
	f.Fuzz(func(t *testing.T, record []byte) {
		if longExponent.Match(record) {
			return // the model would write the number out
		}
		d, err := NewDecoder(s, format.Options{})
		if err != nil {
			t.Fatal(err)
		}
		b := batch.NewBuilder(s)
		err = d.Decode(b, &format.Record{Value: record})
		if err != nil {
			for i := range s.Fields {
				if b.Column(i).Len() != 0 {
					t.Fatalf("after %v a column holds a value", err)
				}
			}
			if want, ok := model(record); ok && utf8.Valid(record) { // encoding/json replaces what is not UTF-8, columns refuse it
				t.Fatalf("refused with %v, but encoding/json reads %v", err, want)
			}
			return
		}
		b.EndRow(batch.NoTime)
		want, ok := model(record)
		if !ok {
			t.Fatalf("%q was decoded, but encoding/json refuses it", record)
		}
		written := NewEncoder(s).Append(nil, b.Rows.Columns(), 0)
		var got any
		if err := stdjson.Unmarshal(written, &got); err != nil {
			t.Fatalf("wrote %q: %v", written, err)
		}
		if !reflect.DeepEqual(normal(got), normal(want)) {
			t.Fatalf("%q\ndecoded as %v\nwant       %v", record, got, want)
		}
	})
}

// model reads the record by encoding/json into what the columns may hold; ok is
// false if a column cannot hold what is there.
func model(record []byte) (out map[string]any, ok bool) {
	if !stdjson.Valid(record) {
		return nil, false
	}
	dec := stdjson.NewDecoder(bytes.NewReader(record))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil {
		return nil, false
	}
	m, isObject := v.(map[string]any)
	if !isObject {
		return nil, false
	}
	out = map[string]any{"a": nil, "s": nil, "f": nil, "l": nil, "o": nil, "m": nil}
	good := true
	text := func(v any) any {
		if v == nil {
			return nil
		}
		s, ok := v.(string)
		good = good && ok
		return s
	}
	whole := func(v any, size int) any {
		if v == nil {
			return nil
		}
		n, ok := v.(stdjson.Number)
		if !ok {
			good = false
			return nil
		}
		rat, ok := new(big.Rat).SetString(n.String())
		if !ok || !rat.IsInt() || rat.Num().BitLen() > size {
			good = false
			return nil
		}
		i := rat.Num().Int64()
		if !rat.Num().IsInt64() || i != i<<(64-size)>>(64-size) {
			good = false
		}
		return float64(i)
	}
	out["a"], out["s"] = whole(m["a"], 64), text(m["s"])
	if v := m["f"]; v != nil {
		n, isNumber := v.(stdjson.Number)
		x, err := strconv.ParseFloat(n.String(), 64)
		good = good && isNumber && err == nil
		out["f"] = x
	}
	if v := m["l"]; v != nil {
		l, isList := v.([]any)
		good = good && isList
		list := []any{}
		for _, e := range l {
			list = append(list, whole(e, 32))
		}
		out["l"] = list
	}
	if v := m["o"]; v != nil {
		o, isObject := v.(map[string]any)
		good = good && isObject
		if b := o["b"]; b != nil {
			_, isBool := b.(bool)
			good = good && isBool
		}
		out["o"] = map[string]any{"b": o["b"], "t": text(o["t"])}
	}
	if v := m["m"]; v != nil {
		o, isObject := v.(map[string]any)
		good = good && isObject
		entries := map[string]any{}
		for k, e := range o {
			good = good && e != nil
			entries[k] = text(e)
		}
		out["m"] = entries
	}
	return out, good
}

// normal makes -0 and 0 equal to DeepEqual.
func normal(v any) any {
	switch v := v.(type) {
	case float64:
		return v + 0
	case map[string]any:
		for k := range v {
			v[k] = normal(v[k])
		}
	case []any:
		for i := range v {
			v[i] = normal(v[i])
		}
	}
	return v
}

// FuzzScannerFindsTheSameTextsValid skips any JSON value and compares with json.Valid.
func FuzzScannerFindsTheSameTextsValid(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s := scanner{src: text}
		err := s.skip(0)
		if err == nil {
			err = s.end()
		}
		if valid := stdjson.Valid(text); valid != (err == nil) && len(text) < MaxDepth {
			t.Fatalf("%q: error %v, json.Valid %t", text, err, valid)
		}
	})
}

// FuzzStringsComeBack writes any text and reads it by encoding/json.
func FuzzStringsComeBack(f *testing.F) {
	for _, s := range []string{"", "plain", "\"\\\n\x00\x1f\u2028é😀", "01234567\"9abcdef"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) {
			return
		}
		var got string
		if err := stdjson.Unmarshal(AppendString(nil, []byte(text)), &got); err != nil || got != text {
			t.Fatalf("%q came back as %q (%v)", text, got, err)
		}
	})
}

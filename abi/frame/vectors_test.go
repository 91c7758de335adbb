package frame

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/weirstream/weir/abi"
	"github.com/weirstream/weir/abi/schema"
)

func vectors(t testing.TB, name string, into any) {
	t.Helper()
	b, err := os.ReadFile("../testdata/vectors/" + name + ".json")
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// plain is a value as the vectors write it.
func plain(c *Column, i int) any {
	v := valueAt(c, i)
	if v == nil {
		return nil
	}
	switch c.Type.Kind {
	case schema.Float32, schema.Float64:
		return map[string]any{"float": strconv.FormatFloat(c.FloatAt(i), 'g', -1, 64)}
	case schema.Binary:
		return map[string]any{"hex": hex.EncodeToString(c.BytesAt(i))}
	case schema.Decimal:
		hi, lo := c.Decimal(i)
		return fmt.Sprintf("%x,%x", hi, lo)
	case schema.Bool, schema.Utf8:
		return v
	case schema.List, schema.Map, schema.Struct:
		out := []any{}
		if c.Type.Kind == schema.Struct {
			for j := range c.Children {
				out = append(out, plain(&c.Children[j], i))
			}
			return out
		}
		from, to := c.Span(i)
		for j := from; j < to; j++ {
			out = append(out, plain(&c.Children[0], j))
		}
		return out
	}
	return fmt.Sprint(v)
}

func normal(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if f, ok := v["float"].(string); ok {
			x, _ := strconv.ParseFloat(f, 64)
			return map[string]any{"float": strconv.FormatFloat(x, 'g', -1, 64)}
		}
	case []any:
		for i := range v {
			v[i] = normal(v[i])
		}
	case string:
		if v == "-12345678901234567890123456789012345678" {
			return fmt.Sprintf("%x,%x", int64(decimalHigh), uint64(decimalLow))
		}
	}
	return v
}

// The two halves of -12345678901234567890123456789012345678 in two's complement, by hand.
const (
	decimalHigh = -0x949b0f6f0023314
	decimalLow  = 0x3bb66faf21c70cb2
)

func TestBlocksOfTheVectorsHoldTheirValuesAndComeOutByteForByte(t *testing.T) {
	var v []struct {
		Schema, Block string
		Rows          int
		Columns       [][]any
	}
	vectors(t, "blocks", &v)
	for _, g := range v {
		s, block := schema.MustParse(g.Schema), unhex(t, g.Block)
		cols, rows, err := Decode(s, block)
		if err != nil || rows != g.Rows {
			t.Errorf("%s: %d rows, %v", s, rows, err)
			continue
		}
		b := NewBuilder(s)
		for i := range rows {
			for j := range cols {
				got, want := fmt.Sprint(plain(&cols[j], i)), fmt.Sprint(normal(g.Columns[j][i]))
				if got != want {
					t.Errorf("%s, row %d, column %d: %s, want %s", s, i, j, got, want)
				}
			}
			b.AppendRow(cols, i)
		}
		if !bytes.Equal(b.AppendTo(nil), block) {
			t.Errorf("%s: built again the block differs:\n%x\n%x", s, b.AppendTo(nil), block)
		}
		if !bytes.Equal(Append(nil, s, cols, nil, rows), block) {
			t.Errorf("%s: gathered the block differs", s)
		}
	}
}

type storedVector struct {
	Schema, Block, Frame string
	Codec                Codec
	Rows                 int
	Times                []string
	Kinds                []byte
}

func storedVectors(t testing.TB) []storedVector {
	var v []struct {
		Schema, Block, Frame string
		Codec                Codec
		Rows                 int
		Times                []string
		Kinds                []int
	}
	vectors(t, "stored", &v)
	out := make([]storedVector, len(v))
	for i, g := range v {
		out[i] = storedVector{Schema: g.Schema, Block: g.Block, Frame: g.Frame, Codec: g.Codec, Rows: g.Rows, Times: g.Times}
		for _, k := range g.Kinds {
			out[i].Kinds = append(out[i].Kinds, byte(k))
		}
	}
	return out
}

func TestStoredFramesOfTheVectorsAreReadInEveryCodec(t *testing.T) {
	for _, g := range storedVectors(t) {
		var buf []byte
		f, _, err := DecodeStored(unhex(t, g.Frame), buf)
		if err != nil {
			t.Errorf("%s, %s: %v", g.Schema, g.Codec, err)
			continue
		}
		if f.Schema.String() != g.Schema || f.Rows != g.Rows || !bytes.Equal(f.Kinds, g.Kinds) || len(f.Times) != len(g.Times) {
			t.Errorf("%s, %s: have %s, %d rows, kinds %v, times %v", g.Schema, g.Codec, f.Schema, f.Rows, f.Kinds, f.Times)
		}
		for i, want := range g.Times {
			if strconv.FormatInt(f.Times[i], 10) != want {
				t.Errorf("%s: time %d is %d, want %s", g.Schema, i, f.Times[i], want)
			}
		}
		if got := Append(nil, f.Schema, f.Columns, nil, f.Rows); !bytes.Equal(got, unhex(t, g.Block)) {
			t.Errorf("%s, %s: other rows", g.Schema, g.Codec)
		}
		for _, codec := range []Codec{CodecNone, CodecS2, CodecZstd} {
			msg, err := AppendStored([]byte("prefix.."), f, codec)
			if err != nil {
				t.Fatal(err)
			}
			again, _, err := DecodeStored(msg[8:], nil)
			if err != nil || !bytes.Equal(Append(nil, again.Schema, again.Columns, nil, again.Rows), unhex(t, g.Block)) || !bytes.Equal(again.Kinds, f.Kinds) {
				t.Errorf("%s to %s: %v", g.Codec, codec, err)
			}
		}
	}
}

type callVectors struct {
	Input, Key, Output string
	Calls              []struct{ Name, Call, Effects string }
}

func (v *callVectors) signature() *Signature {
	return &Signature{
		Name: "f", Inputs: []*schema.Schema{schema.MustParse(v.Input)}, Key: schema.MustParse(v.Key), Outputs: []*schema.Schema{schema.MustParse(v.Output)},
		States: []StateSignature{{Name: "total", Framed: true, MaxBytes: 64}},
		Timers: []TimerSignature{{Name: "t", Kind: abi.TimerEvent}},
	}
}

func TestCallsOfTheVectorsAreReadWrittenAndTheirEffectsAccepted(t *testing.T) {
	var v callVectors
	vectors(t, "calls", &v)
	sig := v.signature()
	var reader CallReader
	var effects Effects
	for _, g := range v.Calls {
		call, err := reader.Read(sig, unhex(t, g.Call))
		if err != nil {
			t.Errorf("%s: %v", g.Name, err)
			continue
		}
		var w CallWriter
		size, err := w.Prepare(sig, call)
		if err != nil {
			t.Fatalf("%s: %v", g.Name, err)
		}
		dst := bytes.Repeat([]byte{0xaa}, size)
		w.Write(dst)
		var second CallReader
		again, err := second.Read(sig, dst)
		if err != nil {
			t.Fatalf("%s: written again: %v", g.Name, err)
		}
		if fmt.Sprint(again.Causes, again.RowSlots, again.Times, again.Seed, again.Slots) != fmt.Sprint(call.Causes, call.RowSlots, call.Times, call.Seed, call.Slots) {
			t.Errorf("%s: written again the call is another", g.Name)
		}
		for i := range call.Slots {
			if fmt.Sprint(valueAt(again.States[0].Column, i)) != fmt.Sprint(valueAt(call.States[0].Column, i)) {
				t.Errorf("%s: state of slot %d differs", g.Name, i)
			}
		}
		if err := effects.Decode(sig, call, unhex(t, g.Effects)); err != nil {
			t.Errorf("%s: %v", g.Name, err)
		}
	}
	first, _ := reader.Read(sig, unhex(t, v.Calls[0].Call))
	if first.Clock != 1000 || first.Watermark != 500 || first.Seed != 42 || first.LastGroup != 255 || first.CauseCount() != 3 || first.Columns[0].StringAt(1) != "b" || first.Times[2] != 300 {
		t.Errorf("%+v", first)
	}
	if err := effects.Decode(sig, first, unhex(t, v.Calls[0].Effects)); err != nil {
		t.Fatal(err)
	}
	o, w, tm := &effects.Outputs[0], &effects.Writes[0], &effects.Timers
	if o.Rows != 3 || o.Columns[1].Int64s()[2] != 13 || o.Causes[2] != 2 || w.Rows != 2 || w.Slots[0] != 1 || w.Value.BytesAt(1)[1] != 26 || tm.Ops[1] != abi.TimerDelete || tm.Times[0] != 900 {
		t.Errorf("%+v %+v %+v", o, w, tm)
	}
	if err := effects.Decode(sig, first, unhex(t, v.Calls[1].Effects)); err != nil || effects.Status != abi.StatusFailed || string(effects.Text) != "no such n" || effects.Consumed != 1 || effects.Timers.Rows != 0 {
		t.Errorf("%v %+v", err, effects)
	}
}

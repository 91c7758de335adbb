package frame

import (
	"fmt"
	"testing"

	"github.com/weirstream/weir/abi/schema"
)

const benchRows = 4096

// benchBatch is about 100 B a row: a key, an amount, and a text.
func benchBatch() (*schema.Schema, []Column) {
	s := schema.MustParse("key:int64,amount:int64,at:timestamp,note:utf8,flag:bool?")
	b := NewBuilder(s)
	for i := range benchRows {
		b.Column(0).AppendInt64(int64(i) * 7919)
		b.Column(1).AppendInt64(int64(i))
		b.Column(2).AppendInt64(1795347074000000 + int64(i))
		b.Column(3).AppendString(fmt.Sprintf("order %09d, a text that makes the row about a hundred bytes long %03d", i, i%1000))
		b.Column(4).AppendBool(i%3 == 0)
	}
	return s, b.Columns()
}

func perRow(b *testing.B, size int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchRows, "ns/row")
	b.ReportMetric(float64(size)/benchRows, "B/row")
}

func benchmarkAppend(b *testing.B, sel []int32) {
	s, cols := benchBatch()
	var e Encoder
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = e.Append(dst[:0], s, cols, sel, benchRows)
	}
	perRow(b, len(dst))
}

func BenchmarkAppendAll(b *testing.B) { benchmarkAppend(b, nil) }

func BenchmarkAppendSelection(b *testing.B) {
	sel := make([]int32, benchRows)
	for i := range sel {
		sel[i] = int32(i * 1237 % benchRows)
	}
	benchmarkAppend(b, sel)
}

func BenchmarkDecodeBlock(b *testing.B) {
	s, cols := benchBatch()
	block := Append(nil, s, cols, nil, benchRows)
	into := NewColumns(s)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeInto(s, block, into); err != nil {
			b.Fatal(err)
		}
	}
	perRow(b, len(block))
}

func BenchmarkStoredEncode(b *testing.B) {
	for _, codec := range []Codec{CodecNone, CodecS2, CodecZstd} {
		b.Run(codec.String(), func(b *testing.B) {
			s, cols := benchBatch()
			f := &Stored{Schema: s, Rows: benchRows, Columns: cols}
			var e StoredEncoder
			var dst []byte
			var err error
			b.ReportAllocs()
			for b.Loop() {
				if dst, err = e.Append(dst[:0], f, codec); err != nil {
					b.Fatal(err)
				}
			}
			perRow(b, len(dst))
		})
	}
}

func BenchmarkStoredDecode(b *testing.B) {
	for _, codec := range []Codec{CodecNone, CodecS2, CodecZstd} {
		b.Run(codec.String(), func(b *testing.B) {
			s, cols := benchBatch()
			msg, err := AppendStored(nil, Stored{Schema: s, Rows: benchRows, Columns: cols}, codec)
			if err != nil {
				b.Fatal(err)
			}
			var d StoredDecoder
			var f Stored
			var buf []byte
			b.ReportAllocs()
			for b.Loop() {
				if buf, err = d.Decode(msg, buf, &f); err != nil {
					b.Fatal(err)
				}
			}
			perRow(b, len(msg))
		})
	}
}

func BenchmarkCallWrite(b *testing.B) {
	s, cols := benchBatch()
	sig := &Signature{Name: "f", Inputs: []*schema.Schema{s}, Key: schema.MustParse("key:int64"), States: []StateSignature{{Name: "sum", Framed: true, MaxBytes: 100}}}
	call := &Call{Rows: benchRows, Columns: cols, Slots: benchRows, Keys: cols[:1], States: make([]StateValues, 1)}
	for i := range benchRows {
		call.RowSlots = append(call.RowSlots, uint32(i))
		call.States[0].Values = append(call.States[0].Values, []byte("0123456789abcdef"))
	}
	var w CallWriter
	dst := make([]byte, 8<<20)
	size := 0
	b.ReportAllocs()
	for b.Loop() {
		n, err := w.Prepare(sig, call)
		if err != nil {
			b.Fatal(err)
		}
		size = w.Write(dst[:n])
	}
	perRow(b, size)
}

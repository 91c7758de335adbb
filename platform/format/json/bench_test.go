package json

import (
	"bytes"
	stdjson "encoding/json"
	"fmt"
	"testing"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/format"
)

var flights = schema.MustParse("departure:timestamp,origin:utf8,destination:utf8,delay:int32,distance:int32")

// flightLines are records like those of examples/01-flights.
func flightLines(n int) [][]byte {
	var lines [][]byte
	for i := range n {
		lines = append(lines, fmt.Appendf(nil, `{"departure":"2001-01-%02dT%02d:%02d:00Z","origin":"DT%c","destination":"LA%c","delay":%d,"distance":%d}`,
			1+i%31, i%24, i%60, 'A'+i%26, 'A'+i%25, i%200-20, 100+i%3000))
	}
	return lines
}

func TestDecodingAndEncodingAllocateNothingPerRecord(t *testing.T) {
	for _, c := range []struct{ columns, record string }{
		{flights.String(), string(flightLines(1)[0])},
		{"o:struct<id:int64,lines:list<struct<sku:utf8,n:int32?>>>,m:map<utf8,float64>,d:decimal(20,4),x:binary",
			`{"skip":{"deep":[1,{"a":"b"}]},"o":{"id":9,"lines":[{"sku":"p\n","n":1}]},"m":{"a":1.5,"b":2.25},"d":12.5,"x":"AAEC","more":[1,2,3]}`},
	} {
		s := schema.MustParse(c.columns)
		d, err := NewDecoder(s, format.Options{})
		if err != nil {
			t.Fatal(err)
		}
		b, e := batch.NewBuilder(s), NewEncoder(s)
		rec := &format.Record{Value: []byte(c.record)}
		var out []byte
		per := testing.AllocsPerRun(100, func() {
			b.Reset()
			for range 100 {
				if err := d.Decode(b, rec); err != nil {
					t.Fatal(err)
				}
				b.EndRow(batch.NoTime)
			}
			cols := b.Rows.Columns()
			out = out[:0]
			for i := range 100 {
				out = e.Append(out, cols, i)
			}
		})
		if per >= 1 {
			t.Errorf("%s: %v allocations a hundred records", c.columns, per)
		}
	}
}

func BenchmarkDecodeFlights(b *testing.B) {
	lines := flightLines(1024)
	d, err := NewDecoder(flights, format.Options{})
	if err != nil {
		b.Fatal(err)
	}
	builder := batch.NewBuilder(flights)
	run(b, lines, func() {
		builder.Reset()
		for _, l := range lines {
			if err := d.Decode(builder, &format.Record{Value: l}); err != nil {
				b.Fatal(err)
			}
			builder.EndRow(batch.NoTime)
		}
	})
}

// BenchmarkDecodeFlightsByEncodingJSON is the baseline.
func BenchmarkDecodeFlightsByEncodingJSON(b *testing.B) {
	lines := flightLines(1024)
	var f struct {
		Departure, Origin, Destination string
		Delay, Distance                int32
	}
	run(b, lines, func() {
		for _, l := range lines {
			if err := stdjson.Unmarshal(l, &f); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkEncodeFlights(b *testing.B) {
	lines := flightLines(1024)
	d, err := NewDecoder(flights, format.Options{})
	if err != nil {
		b.Fatal(err)
	}
	builder := batch.NewBuilder(flights)
	for _, l := range lines {
		if err := d.Decode(builder, &format.Record{Value: l}); err != nil {
			b.Fatal(err)
		}
		builder.EndRow(batch.NoTime)
	}
	cols, e := builder.Rows.Columns(), NewEncoder(flights)
	var out []byte
	run(b, lines, func() {
		out = out[:0]
		for i := range lines {
			out = e.Append(out, cols, i)
		}
	})
	if !bytes.HasPrefix(out, lines[0]) {
		b.Fatalf("wrote %s, want %s", out[:len(lines[0])], lines[0])
	}
}

func run(b *testing.B, lines [][]byte, do func()) {
	n := 0
	for _, l := range lines {
		n += len(l)
	}
	b.SetBytes(int64(n))
	b.ReportAllocs()
	for b.Loop() {
		do()
	}
	b.ReportMetric(float64(b.N)*float64(len(lines))/b.Elapsed().Seconds(), "records/s")
}

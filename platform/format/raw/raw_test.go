package raw

import (
	"testing"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/format"
)

func TestRecordsPassThroughAsTheyAre(t *testing.T) {
	s := schema.Raw()
	d, err := NewDecoder(s, format.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := NewEncoder(s, format.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := batch.NewBuilder(s)
	for _, r := range []format.Record{
		{Key: []byte("k"), Value: []byte{0, 255}, TimeMicros: 5, Headers: map[string][]byte{"b": []byte("2"), "a": []byte("1")}},
		{Value: []byte{}, TimeMicros: 6},
	} {
		if err := d.Decode(b, &r); err != nil {
			t.Fatal(err)
		}
		b.EndRow(r.TimeMicros)
	}
	cols := b.Rows.Columns()
	if string(cols[0].BytesAt(0)) != "k" || !cols[0].Null(1) || cols[2].Int64s()[1] != 6 || !cols[3].Null(1) {
		t.Error("key, ts or headers differ")
	}
	names := &cols[3].Children[0].Children[0]
	if from, to := cols[3].Span(0); from != 0 || to != 2 || names.StringAt(0) != "a" || names.StringAt(1) != "b" {
		t.Error("headers are not in the order of their names")
	}
	if cols[1].Null(1) || string(e.Append(nil, cols, 0)) != "\x00\xff" || len(e.Append(nil, cols, 1)) != 0 {
		t.Error("values differ")
	}
}

func TestWhatRawCannotHoldIsRefused(t *testing.T) {
	for columns, want := range map[string]string{
		"x:int32":   `format raw has no column "x": it has key:binary?,value:binary?,ts:timestamp,headers:map<utf8,binary>?`,
		"key:int32": `column "key" is int32, want binary?`,
	} {
		if _, err := NewDecoder(schema.MustParse(columns), format.Options{}); err == nil || err.Error() != want {
			t.Errorf("%s: %v", columns, err)
		}
	}
	if _, err := NewEncoder(schema.MustParse("key:binary"), format.Options{}); err == nil {
		t.Error("an encoder without a value was made")
	}
	d, err := NewDecoder(schema.MustParse("value:binary,key:binary"), format.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := batch.NewBuilder(schema.MustParse("value:binary,key:binary"))
	if err := d.Decode(b, &format.Record{Value: []byte("v")}); err == nil || b.Column(0).Len() != 0 {
		t.Errorf("a record without a key: %v, %d values left", err, b.Column(0).Len())
	}
}

func TestTextMayStandForBytesIfItIsUTF8(t *testing.T) {
	s := schema.MustParse("value:utf8")
	d, err := NewDecoder(s, format.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := batch.NewBuilder(s)
	if err := d.Decode(b, &format.Record{Value: []byte("naïve")}); err != nil {
		t.Fatal(err)
	}
	b.EndRow(batch.NoTime)
	if err := d.Decode(b, &format.Record{Value: []byte{0xff}}); err == nil || err.Error() != `column "value": is not UTF-8 (byte 0)` {
		t.Error(err)
	}
	if b.Rows.Rows() != 1 || b.Rows.Columns()[0].StringAt(0) != "naïve" {
		t.Error("the row that was refused left something behind")
	}
}

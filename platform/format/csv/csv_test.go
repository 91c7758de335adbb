package csv

import (
	"bufio"
	"bytes"
	stdcsv "encoding/csv"
	"slices"
	"strings"
	"testing"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/format"
)

func decodeOne(t *testing.T, columns, row string, o format.Options) (string, error) {
	t.Helper()
	s := schema.MustParse(columns)
	d, err := NewDecoder(s, o)
	if err != nil {
		return "", err
	}
	b := batch.NewBuilder(s)
	if err := d.Decode(b, &format.Record{Value: []byte(row)}); err != nil {
		if b.Column(0).Len() != 0 {
			t.Errorf("after %v column 0 holds a value", err)
		}
		return "", err
	}
	b.EndRow(batch.NoTime)
	o.Header = nil
	e, err := NewEncoder(s, o)
	if err != nil {
		t.Fatal(err)
	}
	return string(e.Append(nil, b.Rows.Columns(), 0)), nil
}

func TestRowsBecomeColumns(t *testing.T) {
	for _, c := range []struct {
		name, columns, row, want string
		o                        format.Options
	}{
		{"every type", "b:bool,i:int64,f:float64,d:decimal(9,2),s:utf8,x:binary,day:date32,at:timestamp", "true,-5,1.5,2.5,hello,AAEC,2001-02-28,2001-01-01T00:47:00Z\r\n", "true,-5,1.5,2.50,hello,AAEC,2001-02-28,2001-01-01T00:47:00Z", format.Options{}},
		{"an empty field is null", "a:int32?,s:utf8?", ",", ",", format.Options{}},
		{"an empty field in quotes is empty text", "a:int32?,s:utf8?", `,""`, `,""`, format.Options{}},
		{"empty text where null may not be", "s:utf8,a:int32", ",1", `"",1`, format.Options{}},
		{"another null text", "s:utf8?,t:utf8?,a:int32?", `NA,"NA",NA`, `NA,"NA",NA`, format.Options{Null: "NA"}},
		{"quotes, delimiters and line ends in quotes", "a:utf8,b:utf8", "\"x,\"\"y\"\"\",\"1\n2\"", "\"x,\"\"y\"\"\",\"1\n2\"", format.Options{}},
		{"another delimiter", "a:utf8,b:int32", "x,y;2", "x,y;2", format.Options{Delimiter: ";"}},
		{"columns by header", "a:int32,b:int32,c:int32?", "2,9,1", "1,2,", format.Options{Header: []string{"b", "x", "a"}}},
		{"times in a unit, or as text all the same", "a:timestamp,b:timestamp", "1000,1970-01-01T00:00:01Z", "1970-01-01T00:00:01Z,1970-01-01T00:00:01Z", format.Options{TimeUnit: format.Millis}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := decodeOne(t, c.columns, c.row, c.o)
			if err != nil || got != c.want {
				t.Errorf("got  %q (%v)\nwant %q", got, err, c.want)
			}
		})
	}
}

func TestRefusalsNameColumnAndWhatWasFound(t *testing.T) {
	for _, c := range []struct {
		name, columns, row, want string
		o                        format.Options
	}{
		{"a word where an integer belongs", "a:int32,b:int32", "1,x", `column "b": "x" is not a number (byte 2)`, format.Options{}},
		{"too large", "a:int8", "128", `column "a": 128 is out of range of int8 (byte 0)`, format.Options{}},
		{"null where none may be", "a:int8", "", `column "a": is null and not nullable (byte 0)`, format.Options{}},
		{"too few fields", "a:int8,b:int8", "1", `has 1 fields, want 2 (byte 1)`, format.Options{}},
		{"too many fields", "a:int8", "1,2", `has more than 1 fields (byte 2)`, format.Options{}},
		{"an open quote", "a:utf8", `"x`, `a quote is not closed (byte 2)`, format.Options{}},
		{"text behind a quote", "a:utf8", `"x"y`, `text behind a closing quote (byte 3)`, format.Options{}},
		{"a quote within", "a:utf8", `x"y`, `a quote within a field: put the field in quotes and double the quote (byte 1)`, format.Options{}},
		{"two rows", "a:utf8", "x\ny", `a line end outside quotes: one record is one row (byte 1)`, format.Options{}},
		{"an integer time without a unit", "a:timestamp", "1000", `column "a": "1000" is not an RFC 3339 time like 2006-01-02T15:04:05Z (byte 0)`, format.Options{}},
		{"a nested column", "a:list<int32>", "", `column "a" is list<int32>, which CSV cannot hold: use format json`, format.Options{}},
		{"a header without a needed column", "a:int32,b:int32", "", `the header has no field "b", whose column is not nullable`, format.Options{Header: []string{"a"}}},
		{"a header with a column twice", "a:int32", "", `the header names column "a" twice`, format.Options{Header: []string{"a", "a"}}},
		{"a delimiter of two characters", "a:int32", "", `delimiter "||" is not one plain character`, format.Options{Delimiter: "||"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := decodeOne(t, c.columns, c.row, c.o)
			if err == nil {
				t.Fatalf("decoded as %q", got)
			}
			if err.Error() != c.want {
				t.Errorf("got  %s\nwant %s", err, c.want)
			}
		})
	}
}

func scan(text string, buffer int) []string {
	s := bufio.NewScanner(strings.NewReader(text))
	s.Buffer(make([]byte, 0, buffer), 1<<20)
	s.Split(ScanRecords)
	var rows []string
	for s.Scan() {
		rows = append(rows, s.Text())
	}
	return rows
}

func TestFilesAreCutIntoRowsWhateverTheBuffer(t *testing.T) {
	text := "a,b\r\n\n1,\"x\ny\"\n\"\"\"\n\",2\n3,4"
	want := []string{"a,b", "1,\"x\ny\"", "\"\"\"\n\",2", "3,4"}
	for buffer := 1; buffer < 40; buffer++ {
		if got := scan(text, buffer); !slices.Equal(got, want) {
			t.Errorf("buffer %d: %q", buffer, got)
		}
	}
}

func TestHeaders(t *testing.T) {
	got, err := ParseHeader([]byte("\xef\xbb\xbfa;\"b;\"\"c\"\r\n"), format.Options{Delimiter: ";"})
	if err != nil || !slices.Equal(got, []string{"a", `b;"c`}) {
		t.Errorf("%q %v", got, err)
	}
}

// FuzzRowsAgreeWithTheStandardLibrary cuts and reads a text of two columns both ways.
func FuzzRowsAgreeWithTheStandardLibrary(f *testing.F) {
	for _, s := range []string{"a,b\n", "\"x,\"\"y\"\"\",\"1\n2\"\n", ",\n\n,", "a\n", "\"a\"b,c", "a,b,c", "x,\"", "a\r,b\r\n"} {
		f.Add(s)
	}
	s := schema.MustParse("a:utf8,b:utf8")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.ContainsAny(text, "\r") || !isText(text) {
			return // encoding/csv turns \r\n within quotes into \n, which loses bytes
		}
		r := stdcsv.NewReader(strings.NewReader(text))
		r.FieldsPerRecord = 2
		want, wantErr := r.ReadAll()
		d, err := NewDecoder(s, format.Options{})
		if err != nil {
			t.Fatal(err)
		}
		b := batch.NewBuilder(s)
		var got [][]string
		var gotErr error
		for _, row := range scan(text, 64) {
			if gotErr = d.Decode(b, &format.Record{Value: []byte(row)}); gotErr != nil {
				break
			}
			b.EndRow(batch.NoTime)
			cols := b.Rows.Columns()
			n := b.Len() - 1
			got = append(got, []string{string(cols[0].BytesAt(n)), string(cols[1].BytesAt(n))})
		}
		if (gotErr == nil) != (wantErr == nil) {
			t.Fatalf("%q: error %v, encoding/csv says %v", text, gotErr, wantErr)
		}
		if wantErr == nil && !slices.EqualFunc(got, want, slices.Equal) {
			t.Fatalf("%q: %q, want %q", text, got, want)
		}
	})
}

func isText(s string) bool { return bytes.Equal([]byte(strings.ToValidUTF8(s, "")), []byte(s)) }

func TestDecodingAndEncodingAllocateNothingPerRecord(t *testing.T) {
	s := schema.MustParse("a:int32,s:utf8?,f:float64,at:timestamp")
	d, err := NewDecoder(s, format.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := NewEncoder(s, format.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := batch.NewBuilder(s)
	rec := &format.Record{Value: []byte(`7,"x""y",2.5,2001-01-01T00:47:00Z`)}
	var out []byte
	per := testing.AllocsPerRun(100, func() {
		b.Reset()
		out = out[:0]
		for range 100 {
			if err := d.Decode(b, rec); err != nil {
				t.Fatal(err)
			}
			b.EndRow(batch.NoTime)
		}
		for i := range 100 {
			out = e.Append(out, b.Rows.Columns(), i)
		}
	})
	if per >= 1 {
		t.Errorf("%v allocations a hundred records", per)
	}
}

func BenchmarkDecode(b *testing.B) {
	s := schema.MustParse("departure:timestamp,origin:utf8,destination:utf8,delay:int32,distance:int32")
	d, err := NewDecoder(s, format.Options{})
	if err != nil {
		b.Fatal(err)
	}
	row := []byte("2001-01-01T00:47:00Z,DTW,LAS,66,1750")
	builder := batch.NewBuilder(s)
	b.SetBytes(int64(len(row)))
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Decode(builder, &format.Record{Value: row}); err != nil {
			b.Fatal(err)
		}
		builder.EndRow(batch.NoTime)
		if builder.Len() == 1024 {
			builder.Reset()
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

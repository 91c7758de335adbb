package json

import (
	"strings"
	"testing"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/format"
)

// decodeOne decodes a record and writes it back, which shows every column.
func decodeOne(t *testing.T, columns, record string, o format.Options) (string, error) {
	t.Helper()
	s := schema.MustParse(columns)
	d, err := NewDecoder(s, o)
	if err != nil {
		t.Fatal(err)
	}
	b := batch.NewBuilder(s)
	if err := d.Decode(b, &format.Record{Value: []byte(record)}); err != nil {
		for i := range s.Fields {
			if n := b.Column(i).Len(); n != 0 {
				t.Errorf("after %v column %d holds %d values", err, i, n)
			}
		}
		return "", err
	}
	b.EndRow(batch.NoTime)
	return string(NewEncoder(s).Append(nil, b.Rows.Columns(), 0)), nil
}

func TestRecordsBecomeColumns(t *testing.T) {
	const all = "b:bool?,i8:int8?,i16:int16?,i32:int32?,i64:int64?,f32:float32?,f64:float64?,d:decimal(20,4)?,s:utf8?,x:binary?,day:date32?,at:timestamp?"
	for _, c := range []struct {
		name, columns, record, want string
		o                           format.Options
	}{
		{"every scalar type", all,
			`{"b":true,"i8":-128,"i16":32767,"i32":-2147483648,"i64":9223372036854775807,"f32":1.5,"f64":-2.5e-3,"d":1234567890123456.7891,"s":"x","x":"AAEC","day":"2001-02-28","at":"2001-01-01T00:47:00Z"}`,
			`{"b":true,"i8":-128,"i16":32767,"i32":-2147483648,"i64":9223372036854775807,"f32":1.5,"f64":-0.0025,"d":1234567890123456.7891,"s":"x","x":"AAEC","day":"2001-02-28","at":"2001-01-01T00:47:00Z"}`, format.Options{}},
		{"missing fields are null", all, `{}`,
			`{"b":null,"i8":null,"i16":null,"i32":null,"i64":null,"f32":null,"f64":null,"d":null,"s":null,"x":null,"day":null,"at":null}`, format.Options{}},
		{"order and blanks do not matter", "a:int32,b:int32", " { \"b\" : 2 ,\n\t\"a\" : 1 } \r\n", `{"a":1,"b":2}`, format.Options{}},
		{"unknown fields are skipped whatever they hold", "a:int32", `{"x":{"y":[1,{"z":"\u0000\""},null,true,-1.5e+9]},"a":1,"":[]}`, `{"a":1}`, format.Options{}},
		{"of equal names the last wins", "a:int32,b:utf8?", `{"a":1,"b":"x","a":2,"b":null,"a":3}`, `{"a":3,"b":null}`, format.Options{}},
		{"of equal names in a struct the last wins", "a:struct<b:int32,c:int32?>", `{"a":{"b":1,"b":2},"a":{"b":3,"c":4,"b":5}}`, `{"a":{"b":5,"c":4}}`, format.Options{}},
		{"of equal keys in a map the last wins", "m:map<utf8,int32>", `{"m":{"x":1,"y":2,"x":3}}`, `{"m":{"x":3,"y":2}}`, format.Options{}},
		{"a name may be escaped", "\x60naïve\x60:int32", `{"na\u00efve":7}`, `{"naïve":7}`, format.Options{}},
		{"escapes", "s:utf8", `{"s":"\"\\\/\b\f\n\r\t\u0041\u00e9\u20ac"}`, "{\"s\":\"\\\"\\\\/\\u0008\\u000c\\n\\r\\tAé€\"}", format.Options{}},
		{"surrogate pairs", "s:utf8", `{"s":"\ud83d\ude00 \uD834\uDD1E"}`, `{"s":"😀 𝄞"}`, format.Options{}},
		{"lone surrogates are replaced", "s:utf8", `{"s":"\ud83d x \ude00\ud83d\u0041"}`, "{\"s\":\"\ufffd x \ufffd\ufffdA\"}", format.Options{}},
		{"long strings cross words", "s:utf8", `{"s":"0123456789abcdefé0123456789\n0123456789"}`, `{"s":"0123456789abcdefé0123456789\n0123456789"}`, format.Options{}},
		{"integers written with exponent", "a:int64,b:int8", `{"a":12.50e1,"b":-1.0}`, `{"a":125,"b":-1}`, format.Options{}},
		{"decimals keep what floats would round", "d:decimal(38,18)", `{"d":12345678901234567890.123456789012345678}`, `{"d":12345678901234567890.123456789012345678}`, format.Options{}},
		{"decimals may be strings", "d:decimal(9,2)", `{"d":"-0.10"}`, `{"d":-0.10}`, format.Options{}},
		{"times in a declared unit", "a:timestamp,b:timestamp", `{"a":1517461200123,"b":"2018-02-01T05:00:00.123+00:00"}`, `{"a":"2018-02-01T05:00:00.123Z","b":"2018-02-01T05:00:00.123Z"}`, format.Options{TimeUnit: format.Millis}},
		{"seconds with a fraction", "a:timestamp", `{"a":1517461200.123456}`, `{"a":"2018-02-01T05:00:00.123456Z"}`, format.Options{TimeUnit: format.Seconds}},
		{"nested columns", "o:struct<id:int64,lines:list<struct<sku:utf8,n:int32?>>>,tags:list<utf8?>?,m:map<utf8,list<int32>>",
			`{"tags":["a",null,"b"],"m":{"x":[1,2],"y":[]},"o":{"lines":[{"sku":"p","n":1},{"n":null,"sku":"q"},{"sku":"r"}],"id":9}}`,
			`{"o":{"id":9,"lines":[{"sku":"p","n":1},{"sku":"q","n":null},{"sku":"r","n":null}]},"tags":["a",null,"b"],"m":{"x":[1,2],"y":[]}}`, format.Options{}},
		{"map keys of other types", "m:map<int32,bool>,n:map<date32,map<decimal(5,2),utf8>>", `{"m":{"-1":true},"n":{"2001-02-03":{"1.5":"x"}}}`, `{"m":{"-1":true},"n":{"2001-02-03":{"1.50":"x"}}}`, format.Options{}},
		{"a map longer than one looks at key by key", "m:map<utf8,int32>", longMap(100), longMap(100), format.Options{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := decodeOne(t, c.columns, c.record, c.o)
			if err != nil || got != c.want {
				t.Errorf("got  %s (%v)\nwant %s", got, err, c.want)
			}
		})
	}
}

func longMap(n int) string {
	var b strings.Builder
	b.WriteString(`{"m":{`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"k` + strings.Repeat("x", i) + `":1`)
	}
	return b.String() + "}}"
}

func TestRefusalsNameColumnAndWhatWasFound(t *testing.T) {
	for _, c := range []struct{ name, columns, record, want string }{
		{"a string where an integer belongs", "delay:int32", `{"delay":"late"}`, `column "delay": want int32, have the string "late" (byte 9)`},
		{"an object where text belongs", "s:utf8", `{"s":{"a":1}}`, `column "s": want utf8, have the object {"a":1} (byte 5)`},
		{"a number where a boolean belongs", "b:bool", `{"b":1}`, `column "b": want bool, have the number 1 (byte 5)`},
		{"a boolean where a time belongs", "t:timestamp", `{"t":true}`, `column "t": want timestamp, have the boolean true (byte 5)`},
		{"too large for the type", "a:int8", `{"a":128}`, `column "a": 128 is out of range of int8 (byte 5)`},
		{"too large for 64 bits", "a:int64", `{"a":9223372036854775808}`, `column "a": 9223372036854775808 is out of range (byte 5)`},
		{"a fraction in an integer", "a:int64", `{"a":1.5}`, `column "a": 1.5 is not an integer (byte 5)`},
		{"a float beyond its range", "a:float64", `{"a":1e400}`, `column "a": 1e400 is out of range of float64 (byte 5)`},
		{"a decimal with too many digits behind the point", "a:decimal(5,2)", `{"a":1.234}`, `column "a": 1.234 has more fractional digits than the column: it is decimal(5,2) (byte 5)`},
		{"a decimal that is no number", "a:decimal(5,2)", `{"a":"x"}`, `column "a": x is not a number: it is decimal(5,2) (byte 5)`},
		{"an integer time without a unit", "a:timestamp", `{"a":15}`, `column "a": has the number 15, but no unit is declared: set time_unit to s, ms, us or ns (byte 5)`},
		{"a time without a zone", "a:timestamp", `{"a":"2001-01-01T00:00:00"}`, `column "a": "2001-01-01T00:00:00" has no zone: add Z or an offset like +02:00 (byte 5)`},
		{"text that is not UTF-8", "a:utf8", "{\"a\":\"\xff\"}", `column "a": is not UTF-8 (byte 5)`},
		{"text that is not base 64", "a:binary", `{"a":"!"}`, `column "a": "!" is not base 64 (byte 5)`},
		{"null where none may be", "a:int32", `{"a":null}`, `column "a": is null and not nullable (byte 5)`},
		{"a missing field that may not be", "a:int32,b:int32", `{"a":1}`, `column "b": is missing and not nullable (byte 7)`},
		{"a place within a nested column", "o:struct<l:list<struct<n:int32>>>", `{"o":{"l":[{"n":1},{"n":"x"}]}}`, `column "o.l[].n": want int32, have the string "x" (byte 24)`},
		{"a map key of the wrong type", "m:map<int32,int32>", `{"m":{"x":1}}`, `column "m{key}": want int32 as a name, have "x" (byte 10)`},
		{"a list as the record", "a:int32", `[1]`, `want an object, have the list (byte 0)`},
		{"nothing as the record", "a:int32", ``, `not JSON: want a value, have the end (byte 0)`},
		{"something behind the record", "a:int32", `{"a":1}{`, `not JSON: want the end of the record, have '{' (byte 7)`},
		{"a leading zero", "a:int32", `{"a":01}`, `not JSON: want a comma or }, have '1' (byte 6)`},
		{"a cut escape", "a:utf8", `{"a":"\u12"}`, `not JSON: want an escape like \n or \u00e9, have '\\' (byte 6)`},
		{"a line end in a string", "a:utf8", "{\"a\":\"x\ny\"}", `not JSON: want no control character in a string, have '\n' (byte 7)`},
		{"a trailing comma", "a:int32", `{"a":1,}`, `not JSON: want a name in quotes, have '}' (byte 7)`},
		{"a long value is cut in the message", "a:int32", `{"a":"` + strings.Repeat("é", 40) + `"}`, `column "a": want int32, have the string "` + strings.Repeat("é", 19) + `… (byte 5)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := decodeOne(t, c.columns, c.record, format.Options{})
			if err == nil {
				t.Fatalf("decoded as %s", got)
			}
			if err.Error() != c.want {
				t.Errorf("got  %s\nwant %s", err, c.want)
			}
		})
	}
}

func TestDeepNestingIsRefusedWithItsLimit(t *testing.T) {
	deep := `{"x":` + strings.Repeat("[", 100000) + strings.Repeat("]", 100000) + `}`
	_, err := decodeOne(t, "a:int32?", deep, format.Options{})
	if err == nil || !strings.Contains(err.Error(), "nested deeper than 512 levels") {
		t.Errorf("got %v", err)
	}
}

func TestARecordWithoutAValueIsRefused(t *testing.T) {
	s := schema.MustParse("a:int32?")
	d, err := NewDecoder(s, format.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Decode(batch.NewBuilder(s), &format.Record{}); err == nil {
		t.Error("a nil value was decoded")
	}
}

func TestOneDecoderServesTwoBuildersInTurn(t *testing.T) {
	s := schema.MustParse("a:int32,l:list<int32>")
	d, err := NewDecoder(s, format.Options{})
	if err != nil {
		t.Fatal(err)
	}
	one, two := batch.NewBuilder(s), batch.NewBuilder(s)
	for i, b := range []*batch.Builder{one, two, one} {
		if err := d.Decode(b, &format.Record{Value: []byte(`{"a":` + string(rune('1'+i)) + `,"l":[7]}`)}); err != nil {
			t.Fatal(err)
		}
		b.EndRow(batch.NoTime)
	}
	e := NewEncoder(s)
	if got := string(e.Append(nil, one.Rows.Columns(), 0)) + string(e.Append(nil, one.Rows.Columns(), 1)) + string(e.Append(nil, two.Rows.Columns(), 0)); got != `{"a":1,"l":[7]}{"a":3,"l":[7]}{"a":2,"l":[7]}` {
		t.Error(got)
	}
}

func TestAnUnknownTimeUnitIsRefused(t *testing.T) {
	if _, err := NewDecoder(schema.MustParse("a:timestamp"), format.Options{TimeUnit: "hours"}); err == nil {
		t.Error("accepted")
	}
}

func TestAMemberIsFoundWithoutDecodingTheRest(t *testing.T) {
	for _, c := range []struct {
		record, want string
		ok           bool
	}{
		{`{"a":{"origin":"no"},"origin":"DTW"}`, "DTW", true},
		{`{"origin":12.50 ,"b":1}`, "12.50", true},
		{`{"origin":"a","origin":"b\n"}`, "b\n", true},
		{`{"origin":null}`, "", false},
		{`{}`, "", false},
		{`{"origin":{"x":1}}`, `{"x":1}`, true},
	} {
		f := NewFinder("origin")
		got, ok, err := f.Find([]byte(c.record))
		if err != nil || ok != c.ok || string(got) != c.want {
			t.Errorf("%s: %q %t %v", c.record, got, ok, err)
		}
	}
	for record, want := range map[string]string{
		`{"a":{"b":{"c":"x\u00e9"}},"b":{"c":1}}`:       "xé",
		`{"a":{"b":{"c":1},"b":{"c":2}}}`:               "2",
		`{"a":{"b":{"c":1}},"a":{"b":{}}}`:              "",
		`{"a":{"b":{"c":1}},"a":"{\"b\":{\"c\":2}}"}`:   "",
		`{"a":{"b":{"c":1,"d":[{"c":3}]},"x":{"c":4}}}`: "1",
		`{"a":[{"b":{"c":1}}]}`:                         "",
		`{"a":{"b":{"c":null}}}`:                        "",
	} {
		got, ok, err := NewFinder("a", "b", "c").Find([]byte(record))
		if err != nil || ok != (want != "") || string(got) != want {
			t.Errorf("a.b.c of %s: %q %t %v", record, got, ok, err)
		}
	}
	for _, bad := range []string{`[]`, `{"origin":1`, `{"origin":1}x`, ``} {
		if _, _, err := NewFinder("origin").Find([]byte(bad)); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
}

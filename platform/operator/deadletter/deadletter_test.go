package deadletter

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/operator"
)

// letters keeps what a Writer emits, as maps of texts.
type letters struct {
	ports []int
	times []int64
	rows  []map[string]string
}

func (l *letters) Emit(port int, b *batch.Batch) error {
	defer b.Release()
	for row := range b.Physical() {
		m := map[string]string{}
		for i, f := range b.Schema.Fields {
			c := &b.Columns[i]
			switch {
			case c.Null(row):
				m[f.Name] = "null"
			case f.Type.Kind == schema.Bool:
				m[f.Name] = fmt.Sprint(c.Bool(row))
			case f.Type.Kind.VarLen():
				m[f.Name] = strings.Clone(c.StringAt(row))
			default:
				m[f.Name] = fmt.Sprint(c.IntAt(row))
			}
		}
		l.rows, l.ports, l.times = append(l.rows, m), append(l.ports, port), append(l.times, b.Time(row))
	}
	return nil
}

func (l *letters) Watermark(element.Watermark) error { return nil }

func writer(t *testing.T) (*Writer, *letters) {
	t.Helper()
	alive := batch.Live()
	t.Cleanup(func() {
		if n := batch.Live() - alive; n != 0 {
			t.Errorf("%d batches or buffers are still alive", n)
		}
	})
	l := &letters{}
	return NewWriter(operator.Identity{Pipeline: "p", Operator: "o", Task: 7}, 3, l), l
}

func expect(t *testing.T, got map[string]string, want string) {
	t.Helper()
	var all []string
	for _, f := range Schema.Fields {
		if f.Name != "time" { // when it was written
			all = append(all, f.Name+"="+got[f.Name])
		}
	}
	if text := strings.Join(all, " "); text != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
}

func TestALetterOfARowHasItsReasonItsPlaceAndTheRowAsJSON(t *testing.T) {
	w, l := writer(t)
	builder := batch.NewBuilder(schema.MustParse("id:int64,name:utf8?"))
	for i := range int64(3) {
		builder.Column(0).AppendInt64(i)
		builder.Column(1).AppendNull()
		builder.EndRead(100+i, uint64(50+i), int32(i))
	}
	read := builder.Finish("orders", 4)
	other := batch.NewBuilder(schema.MustParse("x:bool"))
	other.Column(0).AppendBool(true)
	other.EndRow(batch.NoTime)
	made := other.Finish("", 0)
	for _, c := range []struct {
		b   *batch.Batch
		row int
	}{{read, 2}, {made, 0}, {read, 0}} {
		if err := w.Row("because", c.b, c.row); err != nil {
			t.Fatal(err)
		}
	}
	read.Release()
	made.Release()
	expect(t, l.rows[0], `pipeline=p operator=o task=7 reason=because topic=orders partition=4 sequence=52 row=2 key=null value={"id":2,"name":null} decoded=true`)
	expect(t, l.rows[1], `pipeline=p operator=o task=7 reason=because topic=null partition=null sequence=null row=null key=null value={"x":true} decoded=true`)
	expect(t, l.rows[2], `pipeline=p operator=o task=7 reason=because topic=orders partition=4 sequence=50 row=0 key=null value={"id":0,"name":null} decoded=true`)
	if fmt.Sprint(l.ports, l.times) != fmt.Sprint([]int{3, 3, 3}, []int64{102, batch.NoTime, 100}) {
		t.Errorf("outputs %v, times %v", l.ports, l.times)
	}
}

func TestALetterOfARecordThatCannotBeDecodedHasItsBytes(t *testing.T) {
	w, l := writer(t)
	for _, r := range []Record{
		{Topic: "orders", Partition: 2, Sequence: 9, Row: 1, Key: []byte("k"), Value: []byte("\xff\x00"), TimeMicros: 5},
		{Value: []byte{}, TimeMicros: 6},
	} {
		if err := w.Raw("no JSON", r); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, l.rows[0], "pipeline=p operator=o task=7 reason=no JSON topic=orders partition=2 sequence=9 row=1 key=k value=\xff\x00 decoded=false")
	expect(t, l.rows[1], "pipeline=p operator=o task=7 reason=no JSON topic=null partition=null sequence=null row=null key=null value= decoded=false")
	if l.times[0] != 5 || l.times[1] != 6 {
		t.Errorf("times %v", l.times)
	}
}

func TestAReasonIsCutAtARuneAndIsAlwaysUTF8(t *testing.T) {
	w, l := writer(t)
	for _, reason := range []string{
		strings.Repeat("a", MaxReasonBytes), strings.Repeat("a", MaxReasonBytes-1) + "éé", "a\xffb", strings.Repeat("\xff", 2*MaxReasonBytes),
	} {
		if err := w.Raw(reason, Record{}); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []string{strings.Repeat("a", MaxReasonBytes), strings.Repeat("a", MaxReasonBytes-1) + "…", "a\uFFFDb", "\uFFFD"} {
		if got := l.rows[i]["reason"]; got != want || !utf8.ValidString(got) {
			t.Errorf("reason %d is %.20q... of %d bytes, want %.20q... of %d", i, got, len(got), want, len(want))
		}
	}
}

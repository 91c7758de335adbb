package jetstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/connector"
)

func publisherOf(t testing.TB, nc *nats.Conn, topic Topic) *Publisher {
	t.Helper()
	p, err := NewPublisher(t.Context(), nc, topic, PublisherOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func publishAll(t testing.TB, p *Publisher, recs ...Record) {
	t.Helper()
	for _, r := range recs {
		if err := p.Publish(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func sourceOf(t testing.TB, nc *nats.Conn, cfg SourceConfig) *Source {
	t.Helper()
	s, err := NewSource(nc, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func openSplit(t testing.TB, s *Source, partition int, after connector.Position) connector.Reader {
	t.Helper()
	r, err := s.Open(t.Context(), connector.Split{ID: strconv.Itoa(partition)}, after)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// texts gives key=value of each row of a plain byte stream.
func texts(b *batch.Batch) []string {
	var out []string
	for i := range b.Len() {
		row := b.Row(i)
		key, value := "-", "-"
		if !b.Columns[rawKey].Null(row) {
			key = string(b.Columns[rawKey].BytesAt(row))
		}
		if !b.Columns[rawValue].Null(row) {
			value = string(b.Columns[rawValue].BytesAt(row))
		}
		out = append(out, key+"="+value)
	}
	return out
}

// readUntilDrained gives the texts of all rows of a partition and the last position.
func readUntilDrained(t testing.TB, r connector.Reader) (rows []string, rejected []connector.Rejected, after connector.Position) {
	t.Helper()
	ctx := within(t)
	for {
		f, err := r.Next(ctx)
		if errors.Is(err, io.EOF) {
			return rows, rejected, after
		}
		if err != nil {
			t.Fatal(err)
		}
		if f.Batch != nil {
			rows = append(rows, texts(f.Batch)...)
			f.Batch.Release()
		}
		rejected = append(rejected, f.Rejected...)
		after = f.After
		if f.Drained {
			return rows, rejected, after
		}
	}
}

func TestRecordsOfBothLayoutsAndOfPlainClientsAreReadInOrderPerKey(t *testing.T) {
	nc := serve(t)
	for _, layout := range []Layout{Frames, Records} {
		topic := create(t, nc, Topic{Name: string(layout), Partitions: 3, Layout: layout})
		want := map[int][]string{}
		p := publisherOf(t, nc, topic)
		for round := range 3 {
			for i := range 100 {
				key := fmt.Sprintf("k%d", i%7)
				publishAll(t, p, Record{Key: []byte(key), Value: []byte(fmt.Sprint(round, i))})
				part := Partition([]byte(key), 3)
				want[part] = append(want[part], key+"="+fmt.Sprint(round, i))
			}
			if _, err := natsJS(t, nc).Publish(t.Context(), topic.PublicSubject("k1"), []byte("plain")); err != nil {
				t.Fatal(err)
			}
			part := Partition([]byte("k1"), 3)
			want[part] = append(want[part], "k1=plain")
		}
		src := sourceOf(t, nc, SourceConfig{Topic: topic})
		for part := range 3 {
			got, rejected, _ := readUntilDrained(t, openSplit(t, src, part, nil))
			if !slices.Equal(got, want[part]) || len(rejected) > 0 {
				t.Errorf("%s partition %d: %d rows, want %d; %v", layout, part, len(got), len(want[part]), rejected)
			}
		}
	}
	if n := batch.Live(); n != 0 {
		t.Errorf("%d live buffers", n)
	}
}

func TestKeysValuesTimesAndHeadersSurviveWhateverTheirBytes(t *testing.T) {
	nc := serve(t)
	want := []Record{
		{Key: []byte("plain"), Value: []byte("v"), TimeMicros: 17},
		{Key: []byte{}, Value: []byte{}, TimeMicros: 18},
		{Key: []byte(" blanks "), Value: nil, TimeMicros: 19},
		{Key: []byte("line\r\nbreak\x00\xff"), Value: []byte("\x00"), TimeMicros: 20},
		{Key: []byte("a.b>*"), Value: []byte("v"), TimeMicros: 21, Headers: map[string][]byte{"Trace": []byte("é1")}},
		{Value: []byte("no key"), TimeMicros: 22},
	}
	for _, layout := range []Layout{Frames, Records} {
		topic := create(t, nc, Topic{Name: string(layout), Partitions: 1, Layout: layout})
		publishAll(t, publisherOf(t, nc, topic), want...)
		r := openSplit(t, sourceOf(t, nc, SourceConfig{Topic: topic}), 0, nil)
		var got []Record
		for len(got) < len(want) {
			f, err := r.Next(within(t))
			if err != nil {
				t.Fatal(err)
			}
			for i := range f.Batch.Len() {
				var rec record
				c := f.Batch.Columns
				if !c[rawKey].Null(i) {
					rec.key = append([]byte{}, c[rawKey].BytesAt(i)...)
				}
				rec.timeMicros = batch.NoTime
				readRawRow(c, i, &rec)
				if f.Batch.Time(i) != c[rawTime].IntAt(i) {
					t.Errorf("%s: time %d, column %d", layout, f.Batch.Time(i), c[rawTime].IntAt(i))
				}
				got = append(got, cloneRecord(rec).public())
			}
			f.Batch.Release()
		}
		for i := range want {
			if !reflect.DeepEqual(want[i], got[i]) {
				t.Errorf("%s: %+v, want %+v", layout, got[i], want[i])
			}
		}
	}
}

func TestAReaderGoesOnFromAPositionInTheMiddleOfAFrame(t *testing.T) {
	nc := serve(t)
	topic := create(t, nc, Topic{Name: "t", Partitions: 1})
	s := schema.MustParse("n:int64")
	b := frame.NewBuilder(s)
	const rows = 3*maxBatchRows + 5
	for i := range rows {
		b.Column(0).AppendInt64(int64(i))
	}
	stored, err := frame.AppendStored(nil, frame.Stored{Schema: s, Rows: rows, Columns: b.Columns()}, frame.CodecS2)
	if err != nil {
		t.Fatal(err)
	}
	p := publisherOf(t, nc, topic)
	if n, err := p.PublishFrame(t.Context(), 0, stored); n != rows || err != nil {
		t.Fatal(n, err)
	}
	if err := p.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	src := sourceOf(t, nc, SourceConfig{Topic: topic, Schema: s})
	next := int64(0)
	var after connector.Position
	for fetches := 0; next < rows; fetches++ {
		r := openSplit(t, src, 0, after) // a new reader for every fetch
		f, err := r.Next(within(t))
		if err != nil {
			t.Fatal(err)
		}
		for i := range f.Batch.Len() {
			row := f.Batch.Row(i)
			if v := f.Batch.Columns[0].IntAt(row); v != next || f.Batch.Origin.Rows[row] != int32(next) {
				t.Fatalf("row %d (origin %d), want %d", v, f.Batch.Origin.Rows[row], next)
			}
			next++
		}
		f.Batch.Release()
		if f.Drained != (next == rows) {
			t.Errorf("after %d rows: drained %v", next, f.Drained)
		}
		after = f.After
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if n := batch.Live(); n != 0 {
		t.Errorf("%d live buffers", n)
	}
}

func TestColumnsOfAFrameAreFoundByNameAndWidened(t *testing.T) {
	nc := serve(t)
	topic := create(t, nc, Topic{Name: "t", Partitions: 1})
	from := schema.MustParse("a:int32,b:utf8,c:float32?,d:int16")
	b := frame.NewBuilder(from)
	for i := range 3 {
		b.Column(0).AppendInt32(int32(i - 1))
		b.Column(1).AppendString(fmt.Sprint("s", i))
		if i == 1 {
			b.Column(2).AppendNull()
		} else {
			b.Column(2).AppendFloat32(0.5)
		}
		b.Column(3).AppendInt16(int16(-i))
	}
	stored, err := frame.AppendStored(nil, frame.Stored{Schema: from, Rows: 3, Columns: b.Columns(), Times: []int64{7, 8, 9}, Kinds: []byte{0, 1, 2}}, frame.CodecNone)
	if err != nil {
		t.Fatal(err)
	}
	p := publisherOf(t, nc, topic)
	if _, err := p.PublishFrame(t.Context(), 0, stored); err != nil {
		t.Fatal(err)
	}
	publishAll(t, p)

	read := func(text string) connector.Fetch {
		r := openSplit(t, sourceOf(t, nc, SourceConfig{Topic: topic, Schema: schema.MustParse(text)}), 0, nil)
		f, err := r.Next(within(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		return f
	}
	f := read("d:float64,x:utf8?,a:int64,b:utf8")
	c := f.Batch.Columns
	if c[0].FloatAt(2) != -2 || !c[1].Null(0) || c[2].IntAt(0) != -1 || c[3].StringAt(1) != "s1" || f.Batch.Time(2) != 9 || f.Batch.Kind(1) != batch.UpdateBefore {
		t.Errorf("widened: %v %v", c, f.Batch.Times)
	}
	f.Batch.Release()
	f = read("b:utf8,a:int32?") // as they stand
	if f.Batch.Columns[0].StringAt(2) != "s2" || f.Batch.Columns[1].IntAt(0) != -1 || f.Batch.Kind(2) != batch.UpdateAfter {
		t.Error("projected")
	}
	f.Batch.Release()
	f = read("c:float64")
	if f.Batch.Len() != 2 || len(f.Rejected) != 1 || f.Rejected[0].Record.Row != 1 || f.Batch.Kind(1) != batch.UpdateAfter {
		t.Errorf("a null in a column without nulls: %d rows, rejected %v", f.Batch.Len(), f.Rejected)
	}
	f.Batch.Release()
	for _, text := range []string{"z:int32", "a:int16", "b:int32", "a:utf8"} {
		f = read(text)
		if f.Batch != nil || len(f.Rejected) != 1 || f.Rejected[0].Record.Sequence != 1 || !f.Drained {
			t.Errorf("%s: %+v", text, f)
		}
	}
	if n := batch.Live(); n != 0 {
		t.Errorf("%d live buffers", n)
	}
}

func TestADamagedFrameIsRejectedWithItsPositionAndReadingGoesOn(t *testing.T) {
	nc := serve(t)
	topic := create(t, nc, Topic{Name: "t", Partitions: 1})
	m := &nats.Msg{Subject: topic.recordSubject(0), Data: []byte("WEIRnonsense"), Header: frameHeader()}
	if _, err := natsJS(t, nc).PublishMsg(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	publishAll(t, publisherOf(t, nc, topic), Record{Key: []byte("k"), Value: []byte("v")})
	rows, rejected, _ := readUntilDrained(t, openSplit(t, sourceOf(t, nc, SourceConfig{Topic: topic}), 0, nil))
	if !slices.Equal(rows, []string{"k=v"}) || len(rejected) != 1 || rejected[0].Position != "t partition 0 sequence 1 row 0" || string(rejected[0].Record.Value) != "WEIRnonsense" {
		t.Errorf("%v %+v", rows, rejected)
	}
}

func TestABoundedSplitEndsBehindWhatWasThereWhenItWasOpened(t *testing.T) {
	nc := serve(t)
	for _, layout := range []Layout{Frames, Records} {
		topic := create(t, nc, Topic{Name: string(layout), Partitions: 2, Layout: layout})
		p := publisherOf(t, nc, topic)
		key := []byte("k")
		part := Partition(key, 2)
		publishAll(t, p, Record{Key: key, Value: []byte("before")})
		src := sourceOf(t, nc, SourceConfig{Topic: topic, Bound: connector.UntilEnd})
		r := openSplit(t, src, part, nil)
		publishAll(t, p, Record{Key: key, Value: []byte("after")})
		var rows []string
		for {
			f, err := r.Next(within(t))
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			rows = append(rows, texts(f.Batch)...)
			f.Batch.Release()
		}
		if !slices.Equal(rows, []string{"k=before"}) {
			t.Errorf("%s: %v", layout, rows)
		}
		empty := openSplit(t, src, 1-part, nil)
		if f, err := empty.Next(within(t)); err != nil || !f.Drained {
			t.Errorf("empty: %+v %v", f, err)
		}
		if _, err := empty.Next(within(t)); !errors.Is(err, io.EOF) {
			t.Errorf("empty: %v", err)
		}
	}
}

func TestASourceStartsWhereItIsTold(t *testing.T) {
	nc := serve(t)
	for name, c := range map[string]struct {
		start func(second time.Time) Start
		want  []string
	}{
		"default":      {func(time.Time) Start { return Start{} }, []string{"-=1", "-=2", "-=3"}},
		"latest":       {func(time.Time) Start { return Start{Kind: Latest} }, []string{"-=3"}},
		"sequence":     {func(time.Time) Start { return Start{Kind: AtSequence, Sequence: 2} }, []string{"-=2", "-=3"}},
		"time":         {func(s time.Time) Start { return Start{Kind: AtTime, Time: s} }, []string{"-=2", "-=3"}},
		"a later time": {func(s time.Time) Start { return Start{Kind: AtTime, Time: s.Add(1)} }, []string{"-=3"}},
	} {
		topic := create(t, nc, Topic{Name: strings.ReplaceAll(name, " ", "-"), Partitions: 1, Layout: Records})
		p := publisherOf(t, nc, topic)
		publishAll(t, p, Record{Value: []byte("1")}, Record{Value: []byte("2")})
		m, _, err := topic.message(t.Context(), nc, messageQuery{Sequence: 2})
		if err != nil {
			t.Fatal(err)
		}
		src := sourceOf(t, nc, SourceConfig{Topic: topic, Start: c.start(m.Time)})
		r := openSplit(t, src, 0, nil)
		if len(c.want) == 1 { // the position before the first record is one to start from
			f, err := r.Next(within(t))
			if err != nil || !f.Drained || f.Batch != nil {
				t.Fatalf("%s: %+v %v", name, f, err)
			}
			r = openSplit(t, src, 0, f.After)
		}
		publishAll(t, p, Record{Value: []byte("3")})
		var rows []string
		for len(rows) < len(c.want) {
			got, _, _ := readUntilDrained(t, r)
			rows = append(rows, got...)
		}
		if !slices.Equal(rows, c.want) {
			t.Errorf("%s: %v, want %v", name, rows, c.want)
		}
	}
}

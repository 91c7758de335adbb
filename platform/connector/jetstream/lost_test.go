package jetstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	nats_js "github.com/nats-io/nats.go/jetstream"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/embednats"
)

// quick lets readers check as often as they can.
const quick = time.Millisecond

func wantLost(t *testing.T, err error, from, to uint64, reason string) {
	t.Helper()
	var lost *connector.DataLost
	if !errors.As(err, &lost) || lost.From != from || lost.To != to || !strings.Contains(lost.Reason, reason) {
		t.Errorf("%v, want data_lost %d to %d: ...%s...", err, from, to, reason)
	}
}

// nextError reads on until something fails.
func nextError(t *testing.T, r connector.Reader) error {
	t.Helper()
	ctx := within(t)
	for {
		f, err := r.Next(ctx)
		if err != nil {
			return err
		}
		if f.Batch != nil {
			f.Batch.Release()
		}
	}
}

// five publishes five records to the only partition and gives the position
// behind the second.
func five(t *testing.T, topic Topic, p *Publisher, src *Source) connector.Position {
	t.Helper()
	var at connector.Position
	for i := 1; i <= 5; i++ {
		publishAll(t, p, Record{Value: fmt.Append(nil, i)})
		if i == 2 {
			r := openSplit(t, src, 0, nil)
			_, _, at = readUntilDrained(t, r)
			if err := r.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	return at
}

func TestAPurgedStreamIsDataLostWithItsRange(t *testing.T) {
	nc := serve(t)
	topic := create(t, nc, Topic{Name: "t", Partitions: 1, Layout: Records})
	src := sourceOf(t, nc, SourceConfig{Topic: topic})
	at := five(t, topic, publisherOf(t, nc, topic), src)
	stream, err := natsJS(t, nc).Stream(t.Context(), topic.Stream)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context(), nats_js.WithPurgeSequence(3)); err != nil {
		t.Fatal(err)
	}
	r := openSplit(t, src, 0, at) // the message at the position is gone, what follows is there
	if rows, _, _ := readUntilDrained(t, r); !slices.Equal(rows, []string{"-=3", "-=4", "-=5"}) {
		t.Errorf("%v", rows)
	}
	if err := stream.Purge(t.Context(), nats_js.WithPurgeSequence(5)); err != nil {
		t.Fatal(err)
	}
	_, err = src.Open(t.Context(), connector.Split{ID: "0"}, at)
	wantLost(t, err, 3, 4, "begins at 5")
}

func TestAReaderThatLagsBehindAPurgeFindsOutWhileItReads(t *testing.T) {
	nc := serve(t)
	topic := create(t, nc, Topic{Name: "t", Partitions: 1, Layout: Records})
	src := sourceOf(t, nc, SourceConfig{Topic: topic, CheckInterval: quick})
	at := five(t, topic, publisherOf(t, nc, topic), src)
	r := openSplit(t, src, 0, at)
	stream, err := natsJS(t, nc).Stream(t.Context(), topic.Stream)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(quick); time.Now().Before(deadline); { // the check is due
	}
	wantLost(t, nextError(t, r), 3, 5, "begins at 6")
}

func TestARecreatedStreamIsDataLost(t *testing.T) {
	nc := serve(t)
	for name, incarnation := range map[string]uint64{"by-weir": 2, "by-hand": 1} {
		topic := create(t, nc, Topic{Name: name, Partitions: 1, Layout: Records})
		src := sourceOf(t, nc, SourceConfig{Topic: topic, CheckInterval: quick})
		at := five(t, topic, publisherOf(t, nc, topic), src)
		live := openSplit(t, src, 0, at)
		readUntilDrained(t, live)
		if err := Delete(t.Context(), nc, topic); err != nil {
			t.Fatal(err)
		}
		wantLost(t, nextError(t, live), 6, 0, "gone")

		again := topic
		again.Incarnation = incarnation
		create(t, nc, again)
		p := publisherOf(t, nc, again)
		_, err := src.Open(t.Context(), connector.Split{ID: "0"}, at)
		if incarnation == 2 {
			// The catalog knows of it: positions of the old one are of no use.
			wantLost(t, err, 3, 0, "recreated")
			_, err = sourceOf(t, nc, SourceConfig{Topic: again}).Open(t.Context(), connector.Split{ID: "0"}, at)
			wantLost(t, err, 3, 0, "recreated")
			continue
		}
		// Recreated behind the catalog's back with the same metadata: the sequence, then the timestamp tell.
		wantLost(t, err, 1, 2, "ends at 0")
		publishAll(t, p, Record{Value: []byte("1")}, Record{Value: []byte("2")}, Record{Value: []byte("3")})
		_, err = src.Open(t.Context(), connector.Split{ID: "0"}, at)
		wantLost(t, err, 3, 0, "was stored at")
	}
}

func TestALostRangeIsSkippedWithALineInTheLogIfThePolicySaysSo(t *testing.T) {
	nc := serve(t)
	topic := create(t, nc, Topic{Name: "t", Partitions: 1, Layout: Records})
	var log bytes.Buffer
	src := sourceOf(t, nc, SourceConfig{Topic: topic, OnDataLost: connector.SkipLoss, Log: slog.New(slog.NewTextHandler(&log, nil))})
	at := five(t, topic, publisherOf(t, nc, topic), src)
	stream, err := natsJS(t, nc).Stream(t.Context(), topic.Stream)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context(), nats_js.WithPurgeSequence(5)); err != nil {
		t.Fatal(err)
	}
	if rows, _, _ := readUntilDrained(t, openSplit(t, src, 0, at)); !slices.Equal(rows, []string{"-=5"}) {
		t.Errorf("%v", rows)
	}
	if !strings.Contains(log.String(), "from=3 to=4") {
		t.Errorf("log: %s", log.String())
	}
}

func TestADrainedPartitionKeepsUpWithItsStreamSoThatOthersRetentionIsNoLoss(t *testing.T) {
	nc := serve(t)
	topic := create(t, nc, Topic{Name: "t", Partitions: 2, Layout: Records})
	p := publisherOf(t, nc, topic)
	key := [2][]byte{}
	for i := 0; key[0] == nil || key[1] == nil; i++ {
		k := fmt.Append(nil, "k", i)
		key[Partition(k, 2)] = k
	}
	publishAll(t, p, Record{Key: key[0], Value: []byte("1")})
	src := sourceOf(t, nc, SourceConfig{Topic: topic, CheckInterval: quick})
	r := openSplit(t, src, 0, nil)
	readUntilDrained(t, r)
	for range 5 {
		publishAll(t, p, Record{Key: key[1], Value: []byte("other")})
	}
	var at connector.Position
	for {
		f, err := r.Next(within(t))
		if err != nil {
			t.Fatal(err)
		}
		if f.Batch != nil {
			t.Fatalf("rows %v", texts(f.Batch))
		}
		at = f.After
		if pos, err := parsePosition(at); err != nil {
			t.Fatal(err)
		} else if pos.Sequence == 6 {
			break
		}
	}
	stream, err := natsJS(t, nc).Stream(t.Context(), topic.Stream)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	publishAll(t, p, Record{Key: key[0], Value: []byte("2")})
	if rows, _, _ := readUntilDrained(t, openSplit(t, src, 0, at)); !slices.Equal(rows, []string{string(key[0]) + "=2"}) {
		t.Errorf("%v", rows)
	}
	if rows, _, _ := readUntilDrained(t, r); !slices.Equal(rows, []string{string(key[0]) + "=2"}) {
		t.Errorf("the reader that stayed open: %v", rows)
	}
}

func TestAStreamThatBecomesUnfitStopsItsReaders(t *testing.T) {
	nc := serve(t)
	topic := create(t, nc, Topic{Name: "t", Partitions: 1})
	src := sourceOf(t, nc, SourceConfig{Topic: topic, CheckInterval: quick})
	r := openSplit(t, src, 0, nil)
	cfg := topic.config()
	cfg.MaxMsgsPerSubject = 3
	if _, err := natsJS(t, nc).UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if err := nextError(t, r); !errors.Is(err, ErrUnfit) {
		t.Error(err)
	}
	if _, err := src.Open(t.Context(), connector.Split{ID: "0"}, nil); !errors.Is(err, ErrUnfit) {
		t.Error(err)
	}
}

func TestAReaderWhoseConsumerIsDeletedGoesOnWithoutLossOrRepetition(t *testing.T) {
	nc := serve(t)
	topic := create(t, nc, Topic{Name: "t", Partitions: 1, Layout: Records})
	p := publisherOf(t, nc, topic)
	src := sourceOf(t, nc, SourceConfig{Topic: topic})
	r := openSplit(t, src, 0, nil)
	var got, want []string
	for round := range 5 {
		for i := range 50 {
			want = append(want, fmt.Sprint("-=", round, i))
			publishAll(t, p, Record{Value: fmt.Append(nil, round, i)})
		}
		stream, err := natsJS(t, nc).Stream(t.Context(), topic.Stream)
		if err != nil {
			t.Fatal(err)
		}
		// It may be gone since the last round, if the reader has not noticed yet.
		if err := stream.DeleteConsumer(t.Context(), r.(*reader).feed.consumer.name); err != nil && !errors.Is(err, nats_js.ErrConsumerNotFound) {
			t.Fatal(err)
		}
		for len(got) < len(want) {
			rows, _, _ := readUntilDrained(t, r)
			got = append(got, rows...)
		}
	}
	for i := range want {
		want[i] = strings.ReplaceAll(want[i], " ", "")
		got[i] = strings.ReplaceAll(got[i], " ", "")
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v\nwant %v", got, want)
	}
}

func TestAReaderGoesOnWhenAnOutsideServerComesBack(t *testing.T) {
	o := embednats.Options{DataDir: t.TempDir(), Listen: "127.0.0.1:0"}
	server, err := embednats.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	o.Listen = strings.TrimPrefix(server.URL(), "nats://")
	nc, err := embednats.ConnectExternal(server.URL(), t.Name(), nats.ReconnectWait(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	topic := create(t, nc, Topic{Name: "t", Partitions: 1, Layout: Records})
	publishAll(t, publisherOf(t, nc, topic), Record{Value: []byte("before")})
	r := openSplit(t, sourceOf(t, nc, SourceConfig{Topic: topic, CheckInterval: 20 * time.Millisecond}), 0, nil)
	if rows, _, _ := readUntilDrained(t, r); !slices.Equal(rows, []string{"-=before"}) {
		t.Fatalf("%v", rows)
	}
	server.Close()
	if server, err = embednats.Start(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	// A server that takes connections may still be opening its streams.
	for deadline := time.Now().Add(20 * time.Second); ; {
		asking, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		err := Verify(asking, nc, topic)
		cancel()
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the client does not find its server again: %v", err)
		}
	}
	publishAll(t, publisherOf(t, nc, topic), Record{Value: []byte("after")})
	if rows, _, _ := readUntilDrained(t, r); !slices.Equal(rows, []string{"-=after"}) {
		t.Errorf("%v", rows)
	}
}

func TestAMessageMissedOnTheWayIsFetchedAgainInItsPlace(t *testing.T) {
	nc := serve(t)
	topic := create(t, nc, Topic{Name: "t", Partitions: 1, Layout: Records})
	p := publisherOf(t, nc, topic)
	r := openSplit(t, sourceOf(t, nc, SourceConfig{Topic: topic}), 0, nil)
	var want []string
	for i := range 20 {
		want = append(want, fmt.Sprint("-=", i))
		publishAll(t, p, Record{Value: fmt.Append(nil, i)})
	}
	f := r.(*reader).feed
	m, d, err := f.next(within(t), time.Second)
	if err != nil || d.stream != 1 || string(m.Data) != "0" {
		t.Fatal(err)
	}
	<-f.msgs // the second one never arrives
	for i := uint64(2); i <= 20; i++ {
		m, d, err := f.next(within(t), 5*time.Second)
		if errors.Is(err, errQuiet) {
			i--
			continue
		}
		if err != nil || d.stream != i || "-="+string(m.Data) != want[i-1] {
			t.Fatalf("%v %v %v, want %s", m, d, err, want[i-1])
		}
	}
}

func TestAPositionOfALaterVersionIsReadAndNonsenseIsRefused(t *testing.T) {
	p, err := parsePosition([]byte(`{"incarnation":3,"sequence":9,"row":2,"time":17,"new":{"x":1}}`))
	if err != nil || p != (position{3, 9, 2, 17}) {
		t.Errorf("%+v %v", p, err)
	}
	for _, text := range []string{``, `[]`, `{"sequence":-1}`, `{"row":-1,"sequence":1}`, `{"row":1}`, `{}{}`, `{"time":-4}`} {
		if _, err := parsePosition([]byte(text)); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

func FuzzPosition(f *testing.F) {
	f.Add([]byte(`{"incarnation":3,"sequence":9,"row":2,"time":17}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parsePosition(data)
		if err != nil {
			return
		}
		again, err := parsePosition(p.append(nil))
		if err != nil || again != p {
			t.Errorf("%+v becomes %+v, %v", p, again, err)
		}
	})
}

func FuzzChunk(f *testing.F) {
	f.Add(appendRecordChunk(nil, 3, record{key: []byte("k"), value: []byte("v"), timeMicros: 9, headers: map[string][]byte{"A": []byte("b")}}))
	f.Add(append(appendChunkHeader(nil, chunkFrame, 1), "frame"...))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _, _ = chunkMessage(data) // must not panic
	})
}

func FuzzTxnMark(f *testing.F) {
	f.Add("7;1/2;00000000000000ff")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := parseTxnMark(text)
		if err != nil {
			return
		}
		if again, err := parseTxnMark(m.String()); err != nil || again != m {
			t.Errorf("%+v becomes %+v, %v", m, again, err)
		}
	})
}

func FuzzDelivery(f *testing.F) {
	f.Add("$JS.ACK.s.c.1.20.30.1700000000000000001.5")
	f.Fuzz(func(t *testing.T, reply string) { parseDelivery(reply) })
}

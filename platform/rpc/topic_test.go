package rpc_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/connector/jetstream"
	"github.com/weirstream/weir/raftmeta/catalog"
)

func (w *world) read(t testing.TB, q *weirv1.ReadRequest) []*weirv1.Record {
	t.Helper()
	s, err := w.topic.Read(t.Context(), connect.NewRequest(q))
	must(t, err)
	defer s.Close()
	var out []*weirv1.Record
	for s.Receive() {
		out = append(out, s.Msg().GetRecords()...)
	}
	must(t, s.Err())
	return out
}

func TestWhatIsPublishedIsReadBackInOrderPerKey(t *testing.T) {
	w := newWorld(t)
	topic := w.createTopic(t, "flights", 4)
	if topic.GetPartitions() != 4 || topic.GetNamespace() != "default" || topic.GetIncarnation() == 0 {
		t.Fatalf("made %v", topic)
	}
	want := map[string][]string{}
	var records []*weirv1.Record
	for i := range 300 {
		key, value := fmt.Sprintf("k%d", i%7), fmt.Sprintf("v%d", i)
		records = append(records, &weirv1.Record{Key: []byte(key), Value: []byte(value), Headers: map[string][]byte{"n": []byte(value)}})
		want[key] = append(want[key], value)
	}
	if n := call(t, w.topic.Publish, &weirv1.PublishRequest{Topic: "flights", Records: records}).GetRecords(); n != 300 {
		t.Fatalf("%d records stored", n)
	}
	got := map[string][]string{}
	for _, r := range w.read(t, &weirv1.ReadRequest{Topic: "flights", From: &weirv1.ReadRequest_Start{Start: true}, UntilEnd: true}) {
		if int(r.GetPartition()) != jetstream.Partition(r.GetKey(), 4) || string(r.GetHeaders()["n"]) != string(r.GetValue()) || r.GetTime() == nil {
			t.Fatalf("read %v", r)
		}
		got[string(r.GetKey())] = append(got[string(r.GetKey())], string(r.GetValue()))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("got %v\nwant %v", got, want)
	}
	if n := len(w.read(t, &weirv1.ReadRequest{Topic: "flights", From: &weirv1.ReadRequest_Start{Start: true}, Limit: 5})); n != 5 {
		t.Fatalf("%d records with a limit of 5", n)
	}
	part := w.read(t, &weirv1.ReadRequest{Topic: "flights", From: &weirv1.ReadRequest_Start{Start: true}, UntilEnd: true, Partitions: []uint32{2}})
	for _, r := range part {
		if r.GetPartition() != 2 {
			t.Fatalf("read partition %d", r.GetPartition())
		}
	}
	info := call(t, w.topic.GetTopic, &weirv1.GetTopicRequest{Name: "flights"})
	if info.GetMessages() == 0 || len(info.GetPartitions()) != 4 || info.GetPublishExample() != `nats pub flights.some-key '{"hello":"weir"}' --server nats://127.0.0.1:4222` {
		t.Fatalf("info %v", info)
	}
}

func TestAbsentAndEmptyKeysAndValuesStayApart(t *testing.T) {
	w := newWorld(t)
	for _, layout := range []weirv1.Layout{weirv1.Layout_LAYOUT_FRAMES, weirv1.Layout_LAYOUT_RECORDS} {
		name := layout.String()
		call(t, w.topic.CreateTopic, &weirv1.CreateTopicRequest{Name: name, Partitions: 1, Layout: layout})
		call(t, w.topic.Publish, &weirv1.PublishRequest{Topic: name, Records: []*weirv1.Record{{Key: []byte("k")}, {Value: []byte{}}, {Key: []byte{0, 1}, Value: []byte("x")}}})
		got := w.read(t, &weirv1.ReadRequest{Topic: name, From: &weirv1.ReadRequest_Start{Start: true}, UntilEnd: true})
		if len(got) != 3 || got[0].Value != nil || string(got[0].Key) != "k" || got[1].Key != nil || got[1].Value == nil || string(got[2].Key) != "\x00\x01" {
			t.Fatalf("%s: read %v", name, got)
		}
	}
}

func TestARecordOfAPlainClientIsReadWithItsKey(t *testing.T) {
	w := newWorld(t)
	w.createTopic(t, "flights", 8)
	if _, err := w.conn.Request("flights.FRA", []byte("hello"), 5*time.Second); err != nil {
		t.Fatal(err)
	}
	got := w.read(t, &weirv1.ReadRequest{Topic: "flights", From: &weirv1.ReadRequest_Start{Start: true}, UntilEnd: true})
	if len(got) != 1 || string(got[0].Key) != "FRA" || string(got[0].Value) != "hello" || int(got[0].Partition) != jetstream.Partition([]byte("FRA"), 8) {
		t.Fatalf("read %v", got)
	}
}

func TestAFollowerSeesWhatIsPublishedLater(t *testing.T) {
	w := newWorld(t)
	w.createTopic(t, "flights", 2)
	s, err := w.topic.Read(t.Context(), connect.NewRequest(&weirv1.ReadRequest{Topic: "flights", From: &weirv1.ReadRequest_Start{Start: true}}))
	must(t, err)
	defer s.Close()
	for i := range 3 {
		call(t, w.topic.Publish, &weirv1.PublishRequest{Topic: "flights", Records: []*weirv1.Record{{Value: fmt.Append(nil, i)}}})
		if !s.Receive() {
			t.Fatal(s.Err())
		}
		if r := s.Msg().GetRecords(); len(r) != 1 || string(r[0].GetValue()) != fmt.Sprint(i) {
			t.Fatalf("got %v", r)
		}
	}
	close(w.closing) // the server goes down
	if s.Receive() || connect.CodeOf(s.Err()) != connect.CodeUnavailable {
		t.Fatalf("the stream ended with %v", s.Err())
	}
}

func TestFramesAreStoredWholeAndTypedOnesReadAsJSON(t *testing.T) {
	w := newWorld(t)
	w.createTopic(t, "t", 4)
	b := frame.NewBuilder(schema.MustParse("name:utf8,size:int64?"))
	b.Column(0).AppendString("a")
	b.Column(1).AppendInt64(7)
	b.Column(0).AppendString("b")
	b.Column(1).AppendNull()
	data, err := frame.AppendStored(nil, frame.Stored{Schema: b.Schema(), Rows: 2, Columns: b.Columns()}, frame.CodecNone)
	must(t, err)
	if n := call(t, w.topic.PublishFrames, &weirv1.PublishFramesRequest{Topic: "t", Frames: []*weirv1.Frame{{Partition: 3, Data: data}}}).GetRecords(); n != 2 {
		t.Fatalf("%d records", n)
	}
	got := w.read(t, &weirv1.ReadRequest{Topic: "t", From: &weirv1.ReadRequest_Start{Start: true}, UntilEnd: true})
	if len(got) != 2 || !json.Valid([]byte(got[0].GetJson())) || got[0].GetJson() != `{"name":"a","size":7}` || got[1].GetRow() != 1 || got[1].GetPartition() != 3 {
		t.Fatalf("read %v", got)
	}
	data[len(data)-1] ^= 1
	refused(t, connect.CodeInvalidArgument, w.topic.PublishFrames, &weirv1.PublishFramesRequest{Topic: "t", Frames: []*weirv1.Frame{{Data: data}}})
	raw := frame.NewBuilder(schema.Raw())
	raw.Column(0).AppendBytes([]byte("FRA"))
	raw.Column(1).AppendBytes([]byte("v"))
	raw.Column(2).AppendInt64(1)
	raw.Column(3).AppendNull()
	data, err = frame.AppendStored(nil, frame.Stored{Schema: raw.Schema(), Rows: 1, Columns: raw.Columns()}, frame.CodecNone)
	must(t, err)
	wrong := uint32(jetstream.Partition([]byte("FRA"), 4)+1) % 4
	text, _ := refused(t, connect.CodeInvalidArgument, w.topic.PublishFrames, &weirv1.PublishFramesRequest{Topic: "t", Frames: []*weirv1.Frame{{Partition: wrong, Data: data}}})
	if !strings.Contains(text, "belongs to partition") {
		t.Fatal(text)
	}
}

func TestRefusalsOfTopicsNameLimitAndWayOut(t *testing.T) {
	w := newWorld(t)
	w.createTopic(t, "flights", 1)
	refused(t, connect.CodeAlreadyExists, w.topic.CreateTopic, &weirv1.CreateTopicRequest{Name: "flights"})
	text, _ := refused(t, connect.CodeInvalidArgument, w.topic.CreateTopic, &weirv1.CreateTopicRequest{Name: "wide", Partitions: 257})
	if !strings.Contains(text, "1 to 256") {
		t.Fatal(text)
	}
	refused(t, connect.CodeInvalidArgument, w.topic.CreateTopic, &weirv1.CreateTopicRequest{Name: "no dots.here"})
	refused(t, connect.CodeNotFound, w.topic.CreateTopic, &weirv1.CreateTopicRequest{Namespace: "nobody", Name: "x"})
	_, problems := refused(t, connect.CodeNotFound, w.topic.GetTopic, &weirv1.GetTopicRequest{Name: "fligths"})
	if len(problems) != 1 || problems[0].GetHint() == "" {
		t.Fatalf("problems %v", problems)
	}
	refused(t, connect.CodeResourceExhausted, w.topic.Publish, &weirv1.PublishRequest{Topic: "flights", Records: []*weirv1.Record{{Value: make([]byte, 9<<20)}}})
	many := make([]*weirv1.Record, 10)
	for i := range many {
		many[i] = &weirv1.Record{Value: make([]byte, 1<<20)}
	}
	refused(t, connect.CodeResourceExhausted, w.topic.Publish, &weirv1.PublishRequest{Topic: "flights", Records: many})
	refused(t, connect.CodeResourceExhausted, w.topic.Publish, &weirv1.PublishRequest{Topic: "flights", Records: []*weirv1.Record{{Value: make([]byte, 17<<20)}}})
	call(t, w.topic.Publish, &weirv1.PublishRequest{Topic: "flights", Records: []*weirv1.Record{{Value: []byte("still works")}}})
	call(t, w.topic.CreateTopic, &weirv1.CreateTopicRequest{Name: "plain", Layout: weirv1.Layout_LAYOUT_RECORDS})
	for _, header := range []string{"Nats-Msg-Id", "Weir-Txn", "", "two words"} {
		refused(t, connect.CodeInvalidArgument, w.topic.Publish, &weirv1.PublishRequest{Topic: "plain", Records: []*weirv1.Record{{Headers: map[string][]byte{header: nil}}}})
	}
}

func TestATopicWhoseStreamCannotBeMadeLeavesNoEntry(t *testing.T) {
	w := newWorld(t)
	other := jetstream.Topic{Name: "flights", Partitions: 3, Incarnation: 99}
	must(t, jetstream.Create(t.Context(), w.conn, other))
	_, problems := refused(t, connect.CodeAlreadyExists, w.topic.CreateTopic, &weirv1.CreateTopicRequest{Name: "flights"})
	if len(problems) != 1 || !strings.Contains(problems[0].GetHint(), "nats stream rm") {
		t.Fatalf("problems %v", problems)
	}
	if _, ok := w.node.View().Topic("default", "flights"); ok {
		t.Fatal("the entry stayed")
	}
}

func TestAnEntryWithoutAStreamGetsOneAtTheNextStart(t *testing.T) {
	w := newWorld(t)
	// The crash: the entry was proposed, the stream was not made.
	_, err := w.node.Propose(t.Context(), &catalog.CreateTopic{
		Namespace: "default", Name: "flights", Partitions: 2, Layout: catalog.LayoutFrames, Stream: jetstream.StreamName("default", "flights"),
	})
	must(t, err)
	refused(t, connect.CodeFailedPrecondition, w.topic.GetTopic, &weirv1.GetTopicRequest{Name: "flights"})
	must(t, w.topics.Reconcile(t.Context()))
	call(t, w.topic.Publish, &weirv1.PublishRequest{Topic: "flights", Records: []*weirv1.Record{{Value: []byte("x")}}})
	if n := call(t, w.topic.GetTopic, &weirv1.GetTopicRequest{Name: "flights"}).GetMessages(); n != 1 {
		t.Fatalf("%d messages", n)
	}
}

func TestADeletedTopicCanBeMadeAnewAndIsPublishedTo(t *testing.T) {
	w := newWorld(t)
	first := w.createTopic(t, "flights", 2)
	call(t, w.topic.Publish, &weirv1.PublishRequest{Topic: "flights", Records: []*weirv1.Record{{Value: []byte("old")}}})
	call(t, w.topic.DeleteTopic, &weirv1.DeleteTopicRequest{Name: "flights"})
	refused(t, connect.CodeNotFound, w.topic.DeleteTopic, &weirv1.DeleteTopicRequest{Name: "flights"})
	second := w.createTopic(t, "flights", 3)
	if second.GetIncarnation() == first.GetIncarnation() {
		t.Fatal("the incarnation was given twice")
	}
	call(t, w.topic.Publish, &weirv1.PublishRequest{Topic: "flights", Records: []*weirv1.Record{{Value: []byte("new")}}})
	got := w.read(t, &weirv1.ReadRequest{Topic: "flights", From: &weirv1.ReadRequest_Start{Start: true}, UntilEnd: true})
	if len(got) != 1 || string(got[0].Value) != "new" {
		t.Fatalf("read %v", got)
	}
	list := call(t, w.topic.ListTopics, &weirv1.ListTopicsRequest{}).GetTopics()
	if len(list) != 1 || list[0].GetPartitions() != 3 {
		t.Fatalf("list %v", list)
	}
}

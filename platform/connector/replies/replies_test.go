package replies

import (
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/embednats"
	"github.com/weirstream/weir/platform/functions"
)

func TestAnswersReachTheGatewayThatTheirCallNames(t *testing.T) {
	s, err := embednats.Start(t.Context(), embednats.Options{DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	nc, err := s.Connect(t.Name())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	sub, err := nc.SubscribeSync(functions.ReplySubject("0a"))
	if err != nil {
		t.Fatal(err)
	}
	sink, err := New(nc, functions.Message)
	if err != nil {
		t.Fatal(err)
	}
	w, err := sink.Open(t.Context(), connector.WriterID{})
	if err != nil {
		t.Fatal(err)
	}
	b := batch.NewBuilder(functions.Message)
	large := strings.Repeat("x", int(nc.MaxPayload()))
	for _, row := range [][2]string{
		{"n/0a/1", "one"}, {"c/0a/2", "stored alone"}, {"n/0b/3", "for another"}, {"whatever", "for nobody"}, {"n/*/1", "for all"},
		{"k/0a/4", ""}, {"n/0a/5", large}, {"n/0a/6", "last"},
	} {
		b.Column(functions.MessageType).AppendString(functions.CallType)
		b.Column(functions.MessageID).AppendString(row[0])
		b.Column(functions.MessageCallerType).AppendString("a/b")
		b.Column(functions.MessageCallerID).AppendString("7")
		b.Column(functions.MessageTypename).AppendString("x/y")
		if row[1] == "" {
			b.Column(functions.MessageValue).AppendNull()
		} else {
			b.Column(functions.MessageValue).AppendString(row[1])
		}
		b.EndRow(batch.NoTime)
	}
	rows := b.Finish("", 0)
	defer rows.Release()
	if err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	for _, want := range []functions.Reply{
		{Call: "n/0a/1", Value: []byte("one")}, {Call: "k/0a/4"}, {Call: "n/0a/5", TooLarge: len(large)}, {Call: "n/0a/6", Value: []byte("last")},
	} {
		m, err := sub.NextMsg(10 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		r, err := functions.ParseReply(m.Data)
		if err != nil || r.Call != want.Call || string(r.Value) != string(want.Value) || (r.Value == nil) != (want.Value == nil) || r.TooLarge != want.TooLarge || r.From.String() != "a/b/7" || r.Typename != "x/y" {
			t.Errorf("got %.100v, %v, want %.100v", r, err, want)
		}
	}
	if _, err := New(nc, schema.Raw()); err == nil {
		t.Error("rows that are no messages were taken")
	}
}

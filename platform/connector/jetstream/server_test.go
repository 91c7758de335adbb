package jetstream

import (
	"testing"

	"github.com/nats-io/nats.go"
	nats_js "github.com/nats-io/nats.go/jetstream"
	"github.com/weirstream/weir/platform/embednats"
)

// serve starts a real server on an empty directory.
func serve(t testing.TB) *nats.Conn {
	t.Helper()
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
	return nc
}

func create(t testing.TB, nc *nats.Conn, topic Topic) Topic {
	t.Helper()
	topic = topic.Normalize()
	if topic.Incarnation == 0 {
		topic.Incarnation = 1
	}
	if err := Create(t.Context(), nc, topic); err != nil {
		t.Fatal(err)
	}
	return topic
}

func natsJS(t testing.TB, nc *nats.Conn) nats_js.JetStream {
	t.Helper()
	js, err := nats_js.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

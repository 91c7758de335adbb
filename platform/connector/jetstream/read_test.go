package jetstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/weirstream/weir/platform/connector"
)

func TestPeopleReadRecordsAndTypedColumnsOfAllPartitions(t *testing.T) {
	nc := serve(t)
	topic := create(t, nc, Topic{Name: "t", Partitions: 3})
	publishAll(t, publisherOf(t, nc, topic), Record{Key: []byte("a"), Value: []byte("plain"), TimeMicros: 5}, Record{Key: []byte("b"), Value: nil})
	sink := sinkOf(t, nc, SinkConfig{Topic: topic, Key: "key"})
	w := writerOf(t, sink, 0)
	writeRows(t, w, makeRows(0, 4, 2))
	publish(t, sink, prepare(t, w, 1))
	var got []string
	firstTyped := uint64(1 << 60)
	read := func(o ReadOptions) {
		got = nil
		err := Read(within(t), nc, topic, o, func(f Found) error {
			if f.Partition >= 3 || f.Sequence == 0 || f.Reason != "" {
				t.Errorf("%+v", f)
			}
			if f.Typed {
				firstTyped = min(firstTyped, f.Sequence)
			}
			got = append(got, fmt.Sprintf("%s %s %v", f.Key, f.Value, f.Typed))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(got)
	}
	read(ReadOptions{Bound: connector.UntilEnd})
	want := []string{` {"key":"k0","n":0} true`, ` {"key":"k0","n":2} true`, ` {"key":"k1","n":1} true`, ` {"key":"k1","n":3} true`, "a plain false", "b  false"}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	read(ReadOptions{Bound: connector.UntilEnd, Start: Start{Kind: AtSequence, Sequence: firstTyped}})
	if !slices.Equal(got, want[:4]) {
		t.Errorf("from sequence %d: %q", firstTyped, got)
	}
	read(ReadOptions{Bound: connector.UntilEnd, Start: Start{Kind: Latest}})
	if len(got) != 0 {
		t.Errorf("from the end: %q", got)
	}
}

func TestReadingOnWaitsUntilTheCallerHasEnough(t *testing.T) {
	nc := serve(t)
	topic := create(t, nc, Topic{Name: "t", Partitions: 2})
	enough := errors.New("enough")
	began := make(chan struct{})
	go func() {
		<-began
		publishAll(t, publisherOf(t, nc, topic), Record{Value: []byte("late")})
	}()
	publishAll(t, publisherOf(t, nc, topic), Record{Value: []byte("early")})
	seen := 0
	err := Read(within(t), nc, topic, ReadOptions{}, func(f Found) error {
		if seen++; seen == 1 {
			close(began)
			return nil
		}
		if string(f.Value) != "late" {
			t.Errorf("%s", f.Value)
		}
		return enough
	})
	if !errors.Is(err, enough) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Read(ctx, nc, topic, ReadOptions{}, func(Found) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

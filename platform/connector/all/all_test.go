package all

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/connector/jetstream"
	"github.com/weirstream/weir/platform/embednats"
)

var rows = schema.MustParse("key:utf8,n:int64")

func environment(t *testing.T) Environment {
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
	topics := map[string]jetstream.Topic{}
	for _, topic := range []jetstream.Topic{{Name: "f", Partitions: 1, Incarnation: 1}, {Namespace: "other", Name: "r", Partitions: 1, Incarnation: 2, Layout: jetstream.Records}} {
		topic = topic.Normalize()
		if err := jetstream.Create(t.Context(), nc, topic); err != nil {
			t.Fatal(err)
		}
		topics[topic.Namespace+"/"+topic.Name] = topic
	}
	return Environment{NATS: nc, Namespace: "default", Topic: func(_ context.Context, namespace, name string) (jetstream.Topic, error) {
		topic, ok := topics[namespace+"/"+name]
		if !ok {
			return topic, os.ErrNotExist
		}
		return topic, nil
	}}
}

func read(t *testing.T, src connector.Source) []string {
	t.Helper()
	splits, err := src.Splits(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, split := range splits {
		r, err := src.Open(t.Context(), split, nil)
		if err != nil {
			t.Fatal(err)
		}
		for {
			f, err := r.Next(t.Context())
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, rej := range f.Rejected {
				t.Errorf("%s: %s", rej.Position, rej.Reason)
			}
			if f.Batch == nil {
				continue
			}
			for i := range f.Batch.Len() {
				row := f.Batch.Row(i)
				n, _ := json.Marshal(f.Batch.Columns[1].IntAt(row))
				out = append(out, strings.Clone(f.Batch.Columns[0].StringAt(row))+"="+string(n))
			}
			f.Batch.Release()
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	return out
}

const lines = `{"key":"a","n":1}` + "\n" + `{"key":"b","n":2}` + "\n"

// TestRowsPassFromAFileThroughEveryKindOfTopicToAFile copies rows from connector to connector.
func TestRowsPassFromAFileThroughEveryKindOfTopicToAFile(t *testing.T) {
	env := environment(t)
	var stdout bytes.Buffer
	env.Stdin, env.Stdout = strings.NewReader(lines), &stdout
	folder := t.TempDir()
	stages := []struct{ sink, sinkOptions, source, sourceOptions string }{
		{"topic", `{"topic":"f","key":"key","codec":"s2"}`, "topic", `{"topic":"f","bounded":true}`},
		{"topic", `{"topic":"other/r","key":"key"}`, "topic", `{"topic":"other/r","bounded":true}`},
		{"topic", `{"topic":"f","format":"json"}`, "topic", `{"topic":"f","bounded":true,"start":"2"}`},
		{"file", `{"path":"` + folder + `/","roll_bytes":1}`, "file", `{"path":"` + folder + `/*.jsonl"}`},
		{"file", `{"path":"` + folder + `/x.csv"}`, "file", `{"path":"` + folder + `/x.csv"}`},
		{"file", `{"path":"-"}`, "", ""},
	}
	src, err := OpenSource(t.Context(), env, "file", json.RawMessage(`{"path":"-"}`), rows)
	if err != nil {
		t.Fatal(err)
	}
	for i, st := range stages {
		g := connector.ExactlyOnce
		if strings.HasSuffix(st.sinkOptions, `csv"}`) || strings.Contains(st.sinkOptions, `"-"`) {
			g = connector.AtLeastOnce
		}
		sink, err := OpenSink(t.Context(), env, st.sink, json.RawMessage(st.sinkOptions), rows, g)
		if err != nil {
			t.Fatal(st, err)
		}
		pump(t, src, sink, uint64(i+1))
		if st.source == "" {
			break
		}
		if src, err = OpenSource(t.Context(), env, st.source, json.RawMessage(st.sourceOptions), rows); err != nil {
			t.Fatal(st, err)
		}
		if got := strings.Join(read(t, src), " "); got != "a=1 b=2" {
			t.Errorf("%+v: %s", st, got)
		}
	}
	if stdout.String() != lines {
		t.Errorf("%q, want %q", stdout.String(), lines)
	}
}

func pump(t *testing.T, src connector.Source, sink connector.Sink, checkpoint uint64) {
	t.Helper()
	w, err := sink.Open(t.Context(), connector.WriterID{Pipeline: "p", Sink: "s"})
	if err != nil {
		t.Fatal(err)
	}
	splits, err := src.Splits(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, split := range splits {
		r, err := src.Open(t.Context(), split, nil)
		if err != nil {
			t.Fatal(err)
		}
		for {
			f, err := r.Next(t.Context())
			if err != nil {
				break
			}
			if f.Batch != nil {
				if err := w.Write(f.Batch); err != nil {
					t.Fatal(err)
				}
				f.Batch.Release()
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	txn, err := w.Prepare(t.Context(), checkpoint)
	if err == nil {
		err = sink.Publish(t.Context(), txn)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestAWrongConnectorOrOptionIsRefusedWithTheNearestName(t *testing.T) {
	env := environment(t)
	for _, c := range []struct{ kind, options, want string }{
		{"topik", `{}`, `did you mean "topic"?`},
		{"kafka", `{}`, "have topic, file"},
		{"topic", `{"topic":"f","fromat":"json"}`, `did you mean "format"?`},
		{"topic", `{"topic":"f","start":"yesterday"}`, "write earliest, latest, a sequence"},
		{"topic", `{"topic":"nowhere"}`, "find topic nowhere"},
		{"topic", `{"topic":"f","format":"columns"}`, `"columns" is not one of`},
		{"file", `{}`, `"path": it is required`},
		{"file", `{"path":"x","null":"-"}`, "null"},
	} {
		if _, err := OpenSource(t.Context(), env, c.kind, json.RawMessage(c.options), rows); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: %v, want %q", c.kind, c.options, err, c.want)
		}
	}
	if _, err := OpenSink(t.Context(), env, "topic", json.RawMessage(`{"topic":"f","key":"kay"}`), rows, connector.ExactlyOnce); err == nil || !strings.Contains(err.Error(), "kay") {
		t.Error(err)
	}
}

func TestOnlySomeSourcesEnd(t *testing.T) {
	for options, want := range map[string]bool{`{"topic":"t"}`: false, `{"topic":"t","bounded":true}`: true} {
		if got, err := Bounded(Topic, json.RawMessage(options)); got != want || err != nil {
			t.Error(options, got, err)
		}
	}
	if got, err := Bounded(File, json.RawMessage(`{"path":"x"}`)); !got || err != nil {
		t.Error(got, err)
	}
}

func TestAMistakeInOptionsIsOneThatTryingAgainDoesNotMend(t *testing.T) {
	env := environment(t)
	folder := t.TempDir()
	for _, c := range []struct{ kind, options string }{
		{"kafka", `{}`}, {"topic", `{"topic":"f","fromat":"json"}`}, {"topic", `{"topic":"f","start":"yesterday"}`}, {"file", `{}`},
		{"file", `{"path":"x.jsonl","time_unit":"h"}`},
	} {
		if _, err := OpenSource(t.Context(), env, c.kind, json.RawMessage(c.options), rows); !errors.Is(err, connector.ErrPermanent) {
			t.Errorf("source %s %s: %v", c.kind, c.options, err)
		}
	}
	for _, c := range []struct{ kind, options string }{
		{"file", `{"path":"-"}`}, {"file", `{"path":"` + folder + `/x.jsonl"}`}, {"topic", `{"topic":"f","key":"kay"}`}, {"topic", `{"topic":"f","codec":"brotli"}`},
	} {
		if _, err := OpenSink(t.Context(), env, c.kind, json.RawMessage(c.options), rows, connector.ExactlyOnce); !errors.Is(err, connector.ErrPermanent) {
			t.Errorf("sink %s %s: %v", c.kind, c.options, err)
		}
	}
	gone, err := OpenSource(t.Context(), env, "file", json.RawMessage(`{"path":"`+folder+`/none.jsonl"}`), rows)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gone.Splits(t.Context()); !errors.Is(err, connector.ErrPermanent) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	env.Topic = func(context.Context, string, string) (jetstream.Topic, error) {
		return jetstream.Topic{}, context.DeadlineExceeded
	}
	if _, err := OpenSource(t.Context(), env, "topic", json.RawMessage(`{"topic":"f"}`), rows); err == nil || errors.Is(err, connector.ErrPermanent) {
		t.Errorf("a catalog that does not answer: %v", err)
	}
}

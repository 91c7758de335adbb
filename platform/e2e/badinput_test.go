package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

const jsonPipeline = `pipeline: %[1]s
module: guest
errors: %[2]s
parallelism: 2
checkpoint: {interval: 100ms, min_pause: 20ms}
sources:
  in: {topic: %[1]s-in, format: json, columns: "` + StepColumns + `"}
operators:
  chaos: {function: chaos, input: in}
sinks:
  out: {topic: %[1]s-out, input: chaos, format: columns, key: key}
`

// stepLines are n records of as many keys, each the first of its key.
func stepLines(n int) []*weirv1.Record {
	var out []*weirv1.Record
	for i := range n {
		out = append(out, &weirv1.Record{Key: []byte(KeyName(i)), Value: fmt.Appendf(nil, `{"key":%q,"seq":1,"value":%d}`, KeyName(i), i)})
	}
	return out
}

func (w *world) publish(t *testing.T, topic string, records []*weirv1.Record) {
	t.Helper()
	r, err := w.client.Topics.Publish(t.Context(), connect.NewRequest(&weirv1.PublishRequest{Namespace: Namespace, Topic: topic, Records: records}))
	if err != nil {
		t.Fatal(err)
	}
	if r.Msg.Records != uint64(len(records)) {
		t.Fatalf("published %d of %d records", r.Msg.Records, len(records))
	}
}

func TestABadRecordAmongAThousandCostsOnlyItself(t *testing.T) {
	w := together(t)
	w.topic(t, "poison-in", 1)
	out := w.topic(t, "poison-out", 4)
	const undecodable, refused = 417, 733
	records := stepLines(1000)
	records[undecodable].Value = []byte(`{"key":"k00417","seq":one}`)
	records[refused].Value = []byte(`{"key":"poison-733","seq":1,"value":1}`)
	w.publish(t, "poison-in", records)
	w.apply(t, jsonPipeline, "poison", "dead_letter")
	seen, rows := map[string]int{}, 0
	w.follow(t, out, func(m Message) error {
		for r := range m.Rows() {
			seen[string(m.Frame.Columns[0].BytesAt(r))]++
		}
		rows += m.Rows()
		return nil
	}, func() bool { return rows >= 998 })
	for i := range 1000 {
		want := 1
		if i == undecodable || i == refused {
			want = 0
		}
		if got := seen[KeyName(i)]; got != want {
			t.Errorf("key %s came out %d times, want %d", KeyName(i), got, want)
		}
	}
	letters := w.letters(t, "poison", 2)
	byRow := map[uint32]*weirv1.DeadLetter{}
	for _, l := range letters {
		byRow[l.SourceRow] = l
	}
	for row, reason := range map[uint32]string{undecodable: "not JSON", refused: "poisonous"} {
		l := byRow[row]
		if l == nil {
			t.Errorf("no dead letter of row %d among %v", row, letters)
			continue
		}
		if l.Topic != "poison-in" || l.Sequence == 0 || !strings.Contains(l.Reason, reason) {
			t.Errorf("dead letter of row %d: %v; want its topic, its position and %q as the reason", row, l, reason)
		}
		if row == undecodable && string(l.Value) != string(records[row].Value) {
			t.Errorf("dead letter of row %d holds %q", row, l.Value)
		}
	}
}

// letters waits for a number of dead letters.
func (w *world) letters(t *testing.T, pipeline string, n int) []*weirv1.DeadLetter {
	t.Helper()
	ctx := within(t, 20*time.Second)
	for {
		r, err := w.client.Pipelines.ListDeadLetters(ctx, connect.NewRequest(&weirv1.ListDeadLettersRequest{Namespace: Namespace, Name: pipeline}))
		if err == nil && len(r.Msg.Letters) >= n {
			if len(r.Msg.Letters) > n {
				t.Errorf("%d dead letters, want %d: %v", len(r.Msg.Letters), n, r.Msg.Letters)
			}
			return r.Msg.Letters
		}
		if e := pause(ctx, pollEvery); e != nil {
			t.Fatalf("%d dead letters did not come: %v, %v", n, r, err)
		}
	}
}

func TestABadRecordFailsTheJobWhereThatIsAsked(t *testing.T) {
	w := together(t)
	for _, c := range []struct{ name, value, reason string }{
		{"strict-json", `{"key":`, "not JSON"},
		{"strict-row", `{"key":"poison","seq":1,"value":1}`, "poisonous"},
	} {
		w.topic(t, c.name+"-in", 1)
		w.topic(t, c.name+"-out", 1)
		records := stepLines(20)
		records[7].Value = []byte(c.value)
		w.publish(t, c.name+"-in", records)
		w.apply(t, jsonPipeline, c.name, "fail")
		s := w.state(t, c.name, "failed")
		if !strings.Contains(s.Pipeline.Error, c.reason) || !strings.Contains(s.Pipeline.Error, c.name+"-in") {
			t.Errorf("%s failed with %q; want the topic and %q", c.name, s.Pipeline.Error, c.reason)
		}
	}
}

func TestABoundedPipelineFinishes(t *testing.T) {
	w := together(t)
	in, out := w.topic(t, "bounded-in", 4), w.topic(t, "bounded-out", 4)
	load := NewWorkload(11, 10_000, 300, 4)
	w.feedAll(t, in, "bounded-in", load)
	w.apply(t, `pipeline: bounded
module: guest
parallelism: 2
sources:
  in: {topic: bounded-in, format: columns, columns: "%s", bounded: true}
operators:
  chaos: {function: chaos, input: in}
sinks:
  out: {topic: bounded-out, input: chaos, format: columns, key: key}
`, StepColumns)
	w.state(t, "bounded", "finished")
	first := NewFirstStage(load)
	if _, err := ReadStream(t.Context(), w.nc, out, 1, first.Visit); err != nil {
		t.Fatal(err)
	}
	if err := first.Verdict(nil); err != nil {
		t.Error(err)
	}
}

// A purge takes what was not read; a recreated stream counts from one again.
func TestAPurgedOrRecreatedInputIsDataLostAndNeverSilence(t *testing.T) {
	w := together(t)
	js, err := jetstream.New(w.nc)
	if err != nil {
		t.Fatal(err)
	}
	recreate := func(stream string) error {
		s, err := js.Stream(t.Context(), stream)
		if err != nil {
			return err
		}
		config := s.CachedInfo().Config
		if err := js.DeleteStream(t.Context(), stream); err != nil {
			return err
		}
		_, err = js.CreateStream(t.Context(), config)
		return err
	}
	purge := func(stream string) error {
		s, err := js.Stream(t.Context(), stream)
		if err != nil {
			return err
		}
		return s.Purge(t.Context())
	}
	for _, c := range []struct {
		name    string
		stopped bool // while it happens
		damage  func(stream string) error
	}{
		{"purged-asleep", true, purge},
		{"recreated-asleep", true, recreate},
		{"recreated-awake", false, recreate},
	} {
		t.Run(c.name, func(t *testing.T) {
			in, out := w.topic(t, c.name+"-in", 2), w.topic(t, c.name+"-out", 2)
			w.apply(t, jsonPipeline, c.name, "dead_letter")
			w.publish(t, c.name+"-in", stepLines(50))
			rows := 0
			count := func(m Message) error { rows += m.Rows(); return nil }
			w.follow(t, out, count, func() bool { return rows >= 50 })
			if c.stopped {
				if err := w.client.Stop(t.Context(), c.name); err != nil {
					t.Fatal(err)
				}
				w.state(t, c.name, "stopped")
			} else if _, err := w.client.Await(within(t, 20*time.Second), c.name, "to have a checkpoint", func(s *weirv1.PipelineStatus) bool {
				return s.LastCheckpoint != nil
			}); err != nil {
				t.Fatal(err)
			}
			more := stepLines(100)[50:]
			if c.stopped {
				w.publish(t, c.name+"-in", more) // nobody reads it before it is gone
			}
			if err := c.damage(in); err != nil {
				t.Fatal(err)
			}
			js, err := jetstream.New(w.nc)
			if err != nil {
				t.Fatal(err)
			}
			// One message by a plain client stands in the new stream.
			if _, err := js.PublishMsg(t.Context(), &nats.Msg{Subject: c.name + "-in." + KeyName(1), Data: more[0].Value}); err != nil {
				t.Fatal(err)
			}
			if c.stopped {
				if err := w.client.Resume(t.Context(), c.name); err != nil {
					t.Fatal(err)
				}
			}
			s := w.state(t, c.name, "failed")
			if !strings.Contains(s.Pipeline.Error, "data_lost") && !strings.Contains(s.Pipeline.Error, "data lost") {
				t.Errorf("failed with %q, want data_lost", s.Pipeline.Error)
			}
			if !strings.Contains(s.Pipeline.Error, c.name+"-in") {
				t.Errorf("failed with %q, want the topic in it", s.Pipeline.Error)
			}
		})
	}
}

package jetstream

import (
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"testing"

	nats_js "github.com/nats-io/nats.go/jetstream"
)

func TestAPlainClientsRecordLandsInFNV1aOfItsKeyModuloPartitions(t *testing.T) {
	nc := serve(t)
	for _, namespace := range []string{"default", "team-a"} {
		for _, partitions := range []int{1, 3, 8, 256} {
			topic := create(t, nc, Topic{Namespace: namespace, Name: fmt.Sprintf("t%d", partitions), Partitions: partitions})
			for i := range 50 {
				key := fmt.Sprintf("key-%d-é", i*7919)
				ack, err := natsJS(t, nc).Publish(t.Context(), topic.PublicSubject(key), []byte("v"))
				if err != nil {
					t.Fatal(err)
				}
				m, ok, err := topic.message(t.Context(), nc, messageQuery{Sequence: ack.Sequence})
				if err != nil || !ok {
					t.Fatal(ok, err)
				}
				h := fnv.New32a()
				h.Write([]byte(key))
				want := int(h.Sum32() % uint32(partitions))
				if got, err := topic.partitionOf(m.Subject); err != nil || got != want {
					t.Errorf("%s: key %s is stored as %s, error %v, want partition %d", topic.Name, key, m.Subject, err, want)
				}
				if got, ok := subjectKey(m.Subject); !ok || string(got) != key {
					t.Errorf("subject %s holds key %q", m.Subject, got)
				}
			}
		}
	}
}

func TestTheServerChecksExpectedSequencesOnTheTransformedSubject(t *testing.T) {
	nc := serve(t)
	topic := create(t, nc, Topic{Name: "flights"})
	js := natsJS(t, nc)
	ack, err := js.Publish(t.Context(), "flights.AMS", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "flights.FRA", nil, nats_js.WithExpectLastSequencePerSubject(ack.Sequence)); !wrongSequence(err) {
		t.Errorf("another key, whose subject is empty: %v", err)
	}
	if _, err := js.Publish(t.Context(), "flights.AMS", nil, nats_js.WithExpectLastSequencePerSubject(ack.Sequence)); err != nil {
		t.Errorf("the same key: %v", err)
	}
	subject := topic.writerSubject(3, "w1")
	if _, err := js.Publish(t.Context(), subject, nil, nats_js.WithExpectLastSequencePerSubject(0)); err != nil {
		t.Errorf("a writer's own subject: %v", err)
	}
	if _, err := js.Publish(t.Context(), subject, nil, nats_js.WithExpectLastSequencePerSubject(0)); !wrongSequence(err) {
		t.Errorf("a writer's own subject again: %v", err)
	}
}

func TestTheExampleLineOfATopicPublishes(t *testing.T) {
	nc := serve(t)
	topic := create(t, nc, Topic{Name: "flights"})
	line := strings.Fields(topic.PublishExample("nats://localhost:4222"))
	want := []string{"nats", "pub", "flights.some-key", `'{"hello":"weir"}'`, "--server", "nats://localhost:4222"}
	if fmt.Sprint(line) != fmt.Sprint(want) {
		t.Errorf("line %v", line)
	}
	if _, err := natsJS(t, nc).Publish(t.Context(), line[2], []byte(strings.Trim(line[3], "'"))); err != nil {
		t.Error(err)
	}
	info, err := Describe(t.Context(), nc, topic)
	if err != nil || info.Messages != 1 || info.LastSequence != 1 || len(info.Partitions) != topic.Partitions {
		t.Errorf("%+v, %v", info, err)
	}
	sum := uint64(0)
	for _, p := range info.Partitions {
		sum += p.Messages
		if (p.Messages == 1) != (p.LastSequence == 1) {
			t.Errorf("partition %+v", p)
		}
	}
	if sum != 1 {
		t.Errorf("%d messages in partitions", sum)
	}
}

func TestCreatingATopicTwiceIsNoErrorUnlessItDiffers(t *testing.T) {
	nc := serve(t)
	topic := create(t, nc, Topic{Name: "a", Partitions: 2})
	create(t, nc, topic)
	topic.Incarnation = 2
	if err := Create(t.Context(), nc, topic); !errors.Is(err, ErrTopicExists) {
		t.Errorf("another incarnation: %v", err)
	}
	for range 2 {
		if err := Delete(t.Context(), nc, topic); err != nil {
			t.Error(err)
		}
	}
	if err := Verify(t.Context(), nc, topic); !errors.Is(err, ErrNoTopic) {
		t.Errorf("deleted: %v", err)
	}
}

func TestStreamsFromWhichMessagesMayGoMissingAreRefusedByName(t *testing.T) {
	nc := serve(t)
	js := natsJS(t, nc)
	for name, c := range map[string]struct {
		change func(*nats_js.StreamConfig)
		want   string
	}{
		"workqueue":   {func(c *nats_js.StreamConfig) { c.Retention = nats_js.WorkQueuePolicy }, "retention"},
		"interest":    {func(c *nats_js.StreamConfig) { c.Retention = nats_js.InterestPolicy }, "retention"},
		"persubject":  {func(c *nats_js.StreamConfig) { c.MaxMsgsPerSubject = 5 }, "5 messages a subject"},
		"discardnew":  {func(c *nats_js.StreamConfig) { c.Discard = nats_js.DiscardNew }, "discards new"},
		"rollup":      {func(c *nats_js.StreamConfig) { c.AllowRollup = true }, "roll-ups"},
		"notransform": {func(c *nats_js.StreamConfig) { c.SubjectTransform = nil }, "subject transform"},
		"recreated":   {func(c *nats_js.StreamConfig) { c.Metadata = nil }, "recreated"},
		"fine":        {func(*nats_js.StreamConfig) {}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			topic := Topic{Name: name, Incarnation: 7}.Normalize()
			cfg := topic.config()
			c.change(&cfg)
			if _, err := js.CreateStream(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			err := Verify(t.Context(), nc, topic)
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, ErrUnfit) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestNamesThatWouldBreakSubjectsAreRefused(t *testing.T) {
	for _, name := range []string{"", "-a", "a.b", "a*", "a>", "a b", "a\n", strings.Repeat("a", 64), "_INBOX", "$JS"} {
		if err := (Topic{Name: name}).Normalize().Validate(); err == nil {
			t.Errorf("topic %q is accepted", name)
		}
		if name == "" {
			continue
		}
		if err := (Topic{Namespace: name, Name: "ok"}).Normalize().Validate(); err == nil {
			t.Errorf("namespace %q is accepted", name)
		}
	}
	if err := (Topic{Name: strings.Repeat("a", 63)}).Normalize().Validate(); err != nil {
		t.Error(err)
	}
	for _, topic := range []Topic{{Name: "a", Partitions: -1}, {Name: "a", Partitions: 1025}, {Name: "a", Subject: "a.*"}, {Name: "a", Subject: "$JS"}, {Name: "a", Layout: "rows"}, {Name: "a", MaxBytes: -1}, {Name: "a", Stream: "a.b"}} {
		if err := topic.Normalize().Validate(); err == nil {
			t.Errorf("%+v is accepted", topic)
		}
	}
}

func TestStreamsOfDifferentTopicsHaveDifferentNames(t *testing.T) {
	if StreamName("a", "b_c") == StreamName("a_b", "c") || StreamName("a-b", "c") == StreamName("a", "b-c") {
		t.Error("two topics share a stream's name")
	}
}

func TestADeliverysReplySubjectIsReadInBothForms(t *testing.T) {
	want := delivery{stream: 20, consumer: 30, timeNanos: 1700000000000000001, pending: 5}
	for _, reply := range []string{
		"$JS.ACK.WEIR_default+t.weir-x.1.20.30.1700000000000000001.5",
		"$JS.ACK.hub.ACCHASH.WEIR_default+t.weir-x.1.20.30.1700000000000000001.5",
		"$JS.ACK.hub.ACCHASH.WEIR_default+t.weir-x.1.20.30.1700000000000000001.5.token",
	} {
		if got, ok := parseDelivery(reply); !ok || got != want {
			t.Errorf("%s: %+v, %v", reply, got, ok)
		}
	}
	for _, reply := range []string{"", "$JS.ACK.s.c.1.x.30.1700000000000000001.5", "$JS.ACK.s.c.1.2.3.4", "a.b.c.d.e.f.g.h.i.j"} {
		if got, ok := parseDelivery(reply); ok {
			t.Errorf("%q is read as %+v", reply, got)
		}
	}
}

// wrongSequence tells that the subject's last message is another than expected.
func wrongSequence(err error) bool {
	var api *nats_js.APIError
	return errors.As(err, &api) && api.ErrorCode == nats_js.JSErrCodeStreamWrongLastSequence
}

// partitionOf reads the partition out of a stored subject.
func (t Topic) partitionOf(subject string) (int, error) {
	rest, ok := strings.CutPrefix(subject, t.root())
	number, _, more := strings.Cut(rest, ".")
	p, err := strconv.Atoi(number)
	if !ok || !more || err != nil || p < 0 || p >= t.Partitions {
		return 0, fmt.Errorf("subject %s is not of a partition of topic %s", subject, t.Name)
	}
	return p, nil
}

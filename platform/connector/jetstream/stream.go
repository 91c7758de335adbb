package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	nats_js "github.com/nats-io/nats.go/jetstream"
)

// metadataIncarnation holds the topic's incarnation in the stream's metadata.
const metadataIncarnation = "weir.incarnation"

// duplicateWindow is the least the server takes: our writers fence by expected
// sequences, and remembering message ids costs memory.
const duplicateWindow = 100 * time.Millisecond

// config is the stream of a topic. Plain clients publish to the public subject;
// the transform places the message into its partition before any check, so
// expected sequences are those of the transformed subject.
func (t Topic) config() nats_js.StreamConfig {
	return nats_js.StreamConfig{
		Name:              t.Stream,
		Description:       "Weir topic " + t.Namespace + "/" + t.Name,
		Subjects:          []string{t.PublicSubject("*"), t.root() + ">"},
		Retention:         nats_js.LimitsPolicy,
		Discard:           nats_js.DiscardOld,
		Storage:           nats_js.FileStorage,
		MaxMsgs:           orUnlimited(t.MaxMessages),
		MaxBytes:          orUnlimited(t.MaxBytes),
		MaxAge:            t.MaxAge,
		MaxMsgsPerSubject: -1,
		Replicas:          t.Replicas,
		Duplicates:        max(t.Deduplicate, duplicateWindow),
		SubjectTransform: &nats_js.SubjectTransformConfig{
			Source:      t.PublicSubject("*"),
			Destination: t.root() + "{{partition(" + strconv.Itoa(t.Partitions) + ",1)}}.k.{{wildcard(1)}}",
		},
		Metadata: map[string]string{metadataIncarnation: strconv.FormatUint(t.Incarnation, 10)},
	}
}

func orUnlimited(n int64) int64 {
	if n == 0 {
		return -1
	}
	return n
}

// Create makes the topic's stream. Creating one that is there as asked is no
// error; one that differs is ErrTopicExists.
func Create(ctx context.Context, nc *nats.Conn, t Topic) error {
	t = t.Normalize()
	if err := t.Validate(); err != nil {
		return err
	}
	js, err := nats_js.New(nc)
	if err != nil {
		return fmt.Errorf("create topic %s: %w", t.Name, err)
	}
	_, err = js.CreateStream(ctx, t.config())
	if errors.Is(err, nats_js.ErrStreamNameAlreadyInUse) {
		return fmt.Errorf("create topic %s: stream %s: %w: delete it or choose another name", t.Name, t.Stream, ErrTopicExists)
	}
	if err != nil {
		return fmt.Errorf("create topic %s: %w", t.Name, err)
	}
	return nil
}

// SetLimits changes what a topic keeps to what t says.
func SetLimits(ctx context.Context, nc *nats.Conn, t Topic) error {
	t = t.Normalize()
	if err := Verify(ctx, nc, t); err != nil {
		return err
	}
	js, err := nats_js.New(nc)
	if err == nil {
		_, err = js.UpdateStream(ctx, t.config())
	}
	if err != nil {
		return fmt.Errorf("set limits of topic %s: %w", t.Name, err)
	}
	return nil
}

// Delete removes the topic's stream; absent is no error.
func Delete(ctx context.Context, nc *nats.Conn, t Topic) error {
	t = t.Normalize()
	js, err := nats_js.New(nc)
	if err == nil {
		err = js.DeleteStream(ctx, t.Stream)
	}
	if err != nil && !errors.Is(err, nats_js.ErrStreamNotFound) {
		return fmt.Errorf("delete topic %s: %w", t.Name, err)
	}
	return nil
}

// state is what the checks of sources and sinks need to know of a stream.
type state struct {
	incarnation uint64
	first, last uint64
	messages    uint64
	bytes       uint64
}

// streamInfo asks the stream's leader and checks that the stream is fit.
func (t Topic) streamInfo(ctx context.Context, nc *nats.Conn) (state, error) {
	var answer struct {
		apiError
		Config nats_js.StreamConfig `json:"config"`
		State  nats_js.StreamState  `json:"state"`
	}
	if err := request(ctx, nc, "STREAM.INFO."+t.Stream, nil, &answer); err != nil {
		return state{}, fmt.Errorf("look up stream %s: %w", t.Stream, err)
	}
	switch {
	case answer.notFound():
		return state{}, fmt.Errorf("stream %s of topic %s: %w", t.Stream, t.Name, ErrNoTopic)
	case answer.Error != nil:
		return state{}, fmt.Errorf("look up stream %s: %w", t.Stream, answer.Error)
	}
	if err := t.fit(answer.Config); err != nil {
		return state{}, err
	}
	// Absent or damaged metadata is incarnation 0, which no topic has.
	incarnation, _ := strconv.ParseUint(answer.Config.Metadata[metadataIncarnation], 10, 64)
	s := answer.State
	return state{incarnation, s.FirstSeq, s.LastSeq, s.Msgs, s.Bytes}, nil
}

// fit refuses streams from which messages may go missing in the middle, or
// which place records otherwise than our clients do.
func (t Topic) fit(c nats_js.StreamConfig) error {
	why := ""
	switch {
	case c.Retention != nats_js.LimitsPolicy:
		why = fmt.Sprintf("its retention is %s: a topic needs limits", c.Retention)
	case c.MaxMsgsPerSubject > 0:
		why = fmt.Sprintf("it keeps at most %d messages a subject: a topic needs no such limit", c.MaxMsgsPerSubject)
	case c.Discard != nats_js.DiscardOld:
		why = "it discards new messages when full: a topic discards old ones"
	case c.AllowRollup:
		why = "it allows roll-ups, which delete messages: a topic does not"
	case c.SubjectTransform == nil || *c.SubjectTransform != *t.config().SubjectTransform:
		why = fmt.Sprintf("its subject transform is not %s -> %s", t.config().SubjectTransform.Source, t.config().SubjectTransform.Destination)
	}
	if why == "" {
		return nil
	}
	return fmt.Errorf("stream %s of topic %s: %w: %s", t.Stream, t.Name, ErrUnfit, why)
}

// Verify checks that the topic's stream is there, fit, and of the topic's incarnation.
func Verify(ctx context.Context, nc *nats.Conn, t Topic) error {
	t = t.Normalize()
	s, err := t.streamInfo(ctx, nc)
	if err != nil {
		return err
	}
	if s.incarnation != t.Incarnation {
		return fmt.Errorf("stream %s of topic %s: %w: it is incarnation %d, the topic is %d: it was recreated",
			t.Stream, t.Name, ErrUnfit, s.incarnation, t.Incarnation)
	}
	return nil
}

// apiError is the error part of the server's answers.
type apiError struct {
	Error *nats_js.APIError `json:"error,omitempty"`
}

func (e apiError) notFound() bool { return e.Error != nil && e.Error.Code == 404 }

// apiTimeout bounds a request to the stream's leader when the caller's context does not.
const apiTimeout = 5 * time.Second

// request calls the JetStream API, which the stream's leader answers.
func request(ctx context.Context, nc *nats.Conn, call string, body, answer any) error {
	var data []byte
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	m, err := nc.RequestWithContext(ctx, "$JS.API."+call, data)
	if err != nil {
		return err
	}
	return json.Unmarshal(m.Data, answer)
}

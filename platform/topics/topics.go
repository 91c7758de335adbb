// Package topics serves topics: it keeps the catalog's entries and their
// JetStream streams together, publishes, and reads for people. It must not know
// how pipelines run, nor how calls reach it.
package topics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/connector/jetstream"
	"github.com/weirstream/weir/raftmeta"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// Limits of topics and of calls.
const (
	// MaxPartitions is the number of key groups: more partitions could not be read side by side.
	MaxPartitions = catalog.MaxPartitions
	// MaxPublishBytes bounds the keys, values and headers of one call.
	MaxPublishBytes = 8 << 20
	// MaxListed bounds a list of topics.
	MaxListed = 10000
	// recordSlack is kept free of the largest message for the frame that a record shares and for headers.
	recordSlack = 128 << 10
)

// Users names the pipelines that use a topic.
type Users struct {
	Readers, Writers []string
	Running          []string // those of them that run or are to run
}

// Options is what a service needs.
type Options struct {
	Node *raftmeta.Node
	Conn *nats.Conn
	// NATSURL is where plain NATS clients connect; empty: nowhere.
	NATSURL string
	// Replicas of a new topic's stream; 0: 1.
	Replicas int
	Log      *slog.Logger
	Clock    func() time.Time
}

// Service serves topics.
type Service struct {
	options Options
	users   func(ctx context.Context, namespace, topic string) (Users, error)

	mu         sync.Mutex // guards what follows
	publishers map[string]*shared
	closed     bool
}

// New makes a service. Close ends it.
func New(o Options) *Service {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	none := func(context.Context, string, string) (Users, error) { return Users{}, nil }
	return &Service{options: o, users: none, publishers: map[string]*shared{}}
}

// SetUsers says who knows which pipelines use a topic, before the first call.
func (s *Service) SetUsers(f func(ctx context.Context, namespace, topic string) (Users, error)) {
	s.users = f
}

// Convert makes what the connector knows of a topic out of the catalog's entry.
func Convert(t *catalog.Topic) jetstream.Topic {
	var window time.Duration
	if t.System == SystemMessages {
		window = DeduplicationWindow
	}
	return jetstream.Topic{
		Deduplicate: window,
		Namespace:   t.Namespace, Name: t.Name, Partitions: t.Partitions, Layout: jetstream.Layout(t.Layout),
		Stream: t.Stream, Subject: t.Subject, Incarnation: t.Incarnation, Replicas: t.Replicas,
		MaxAge:   time.Duration(t.Retention.MaxAgeMs) * time.Millisecond,
		MaxBytes: t.Retention.MaxBytes, MaxMessages: t.Retention.MaxMessages,
	}
}

// Topic finds a topic.
func (s *Service) Topic(namespace, name string) (jetstream.Topic, bool) {
	t, ok := s.options.Node.View().Topic(Namespace(namespace), name)
	if !ok {
		return jetstream.Topic{}, false
	}
	return Convert(t), true
}

// Namespace is the namespace that a request means: nothing is the default one.
func Namespace(name string) string {
	if name == "" {
		return catalog.DefaultNamespace
	}
	return name
}

func (s *Service) find(what, namespace, name string) (*catalog.Topic, error) {
	t, ok := s.options.Node.View().Topic(Namespace(namespace), name)
	if !ok {
		return nil, hint(fmt.Errorf("%s topic %q: there is no such topic in namespace %s: %w", what, name, Namespace(namespace), catalog.ErrNotFound),
			"weir topic list shows those that there are; weir topic create makes one")
	}
	return t, nil
}

func (s *Service) now() int64 { return s.options.Clock().UnixMicro() }

// hinted is an error with what to do next.
type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }

// Hint is what to do next.
func (h *hinted) Hint() string { return h.hint }

func hint(err error, text string, args ...any) error {
	return &hinted{err, fmt.Sprintf(text, args...)}
}

// refuse makes a refusal of a value.
func refuse(kind error, format string, args ...any) error {
	return fmt.Errorf("%w: %w", fmt.Errorf(format, args...), kind)
}

// List gives a namespace's topics by name.
func (s *Service) List(_ context.Context, r *weirv1.ListTopicsRequest) (*weirv1.ListTopicsResponse, error) {
	out := &weirv1.ListTopicsResponse{}
	for t := range s.options.Node.View().Topics(Namespace(r.GetNamespace())) {
		if len(out.Topics) == MaxListed {
			return nil, refuse(catalog.ErrTooLarge, "list topics: namespace %s has more than %d, the limit of a list; use several namespaces", Namespace(r.GetNamespace()), MaxListed)
		}
		out.Topics = append(out.Topics, message(t))
	}
	return out, nil
}

// Get tells how a topic stands.
func (s *Service) Get(ctx context.Context, r *weirv1.GetTopicRequest) (*weirv1.GetTopicResponse, error) {
	t, err := s.find("get", r.GetNamespace(), r.GetName())
	if err != nil {
		return nil, err
	}
	topic := Convert(t)
	info, err := jetstream.Describe(ctx, s.options.Conn, topic)
	if err != nil {
		return nil, fmt.Errorf("get topic %s: %w", t.Name, s.explain(err))
	}
	users, err := s.users(ctx, t.Namespace, t.Name)
	if err != nil {
		return nil, fmt.Errorf("get topic %s: find who uses it: %w", t.Name, err)
	}
	out := &weirv1.GetTopicResponse{
		Topic: message(t), Messages: info.Messages, Bytes: info.Bytes, FirstSequence: info.FirstSequence, LastSequence: info.LastSequence,
		ReadBy: users.Readers, WrittenBy: users.Writers,
	}
	if s.options.NATSURL != "" {
		out.PublishExample = topic.PublishExample(s.options.NATSURL)
	}
	for _, p := range info.Partitions {
		out.Partitions = append(out.Partitions, &weirv1.PartitionInfo{Partition: uint32(p.Partition), Messages: p.Messages, LastSequence: p.LastSequence})
	}
	return out, nil
}

// explain adds the way out to what a stream's absence or shape refuses.
func (s *Service) explain(err error) error {
	switch {
	case errors.Is(err, jetstream.ErrNoTopic):
		return hint(err, "somebody deleted its stream beside Weir; delete the topic and make it anew, or restart the server, which makes an empty stream")
	case errors.Is(err, jetstream.ErrUnfit):
		return hint(err, "somebody changed its stream beside Weir; weir doctor says how")
	}
	return err
}

// Conn is the connection that topics are reached by.
func (s *Service) Conn() *nats.Conn { return s.options.Conn }

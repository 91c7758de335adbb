package topics

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/connector/jetstream"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// undoLimit bounds taking an entry back whose stream cannot be made.
const undoLimit = 5 * time.Second

var layouts = map[weirv1.Layout]catalog.Layout{
	weirv1.Layout_LAYOUT_UNSPECIFIED: catalog.LayoutFrames,
	weirv1.Layout_LAYOUT_FRAMES:      catalog.LayoutFrames,
	weirv1.Layout_LAYOUT_RECORDS:     catalog.LayoutRecords,
}

func message(t *catalog.Topic) *weirv1.Topic {
	layout := weirv1.Layout_LAYOUT_FRAMES
	if t.Layout == catalog.LayoutRecords {
		layout = weirv1.Layout_LAYOUT_RECORDS
	}
	return &weirv1.Topic{
		Namespace: t.Namespace, Name: t.Name, Partitions: uint32(t.Partitions), Layout: layout, Stream: t.Stream, Incarnation: t.Incarnation,
		Created: timestamppb.New(time.UnixMicro(t.Created)), MaxAgeMs: uint64(t.Retention.MaxAgeMs), MaxBytes: uint64(t.Retention.MaxBytes),
	}
}

// Create makes a topic: its entry, then its stream.
func (s *Service) Create(ctx context.Context, r *weirv1.CreateTopicRequest) (*weirv1.CreateTopicResponse, error) {
	layout, ok := layouts[r.GetLayout()]
	switch {
	case !ok:
		return nil, refuse(catalog.ErrInvalid, "create topic %s: layout %d: choose frames or records", r.GetName(), r.GetLayout())
	case r.GetPartitions() > MaxPartitions:
		return nil, refuse(catalog.ErrInvalid, "create topic %s with %d partitions: choose 1 to %d", r.GetName(), r.GetPartitions(), MaxPartitions)
	case r.GetMaxAgeMs() > math.MaxInt64/uint64(time.Millisecond):
		return nil, refuse(catalog.ErrInvalid, "create topic %s: a maximum age of %d ms: choose at most %d, or 0 for no limit", r.GetName(), r.GetMaxAgeMs(), math.MaxInt64/int64(time.Millisecond))
	case r.GetMaxBytes() > math.MaxInt64:
		return nil, refuse(catalog.ErrInvalid, "create topic %s: %d bytes at most: choose at most %d, or 0 for no limit", r.GetName(), r.GetMaxBytes(), int64(math.MaxInt64))
	}
	partitions := int(r.GetPartitions())
	if partitions == 0 {
		partitions = jetstream.DefaultPartitions
	}
	t, err := s.create(ctx, catalog.CreateTopic{
		Namespace: Namespace(r.GetNamespace()), Name: r.GetName(), Partitions: partitions, Layout: layout,
		Retention: catalog.Retention{MaxAgeMs: int64(r.GetMaxAgeMs()), MaxBytes: int64(r.GetMaxBytes())},
	})
	if err != nil {
		return nil, err
	}
	return &weirv1.CreateTopicResponse{Topic: message(t)}, nil
}

// Why topics exist that Weir itself makes.
const (
	SystemDeadLetters = "dead_letter"
	// SystemMessages is of the messages that come to stateful functions through the
	// API, SystemReplies of the answers to calls.
	SystemMessages = "function_messages"
	SystemReplies  = "function_replies"
)

// DeduplicationWindow is how long a topic of messages knows an idempotency key.
const DeduplicationWindow = 2 * time.Minute

// CreateSystem makes a topic that Weir itself needs, say for dead letters, if it is not there.
func (s *Service) CreateSystem(ctx context.Context, namespace, name, why string, keep catalog.Retention) (*catalog.Topic, error) {
	if t, ok := s.options.Node.View().Topic(namespace, name); ok {
		return t, nil
	}
	t, err := s.create(ctx, catalog.CreateTopic{Namespace: namespace, Name: name, Partitions: 1, Layout: catalog.LayoutFrames, System: why, Retention: keep})
	if errors.Is(err, catalog.ErrExists) { // somebody else was quicker
		if t, ok := s.options.Node.View().Topic(namespace, name); ok {
			return t, nil
		}
	}
	return t, err
}

func (s *Service) create(ctx context.Context, c catalog.CreateTopic) (*catalog.Topic, error) {
	if err := jetstream.CheckName("topic", c.Name); err != nil {
		return nil, refuse(catalog.ErrInvalid, "create topic: %w", err)
	}
	c.At, c.Stream, c.Replicas = s.now(), jetstream.StreamName(c.Namespace, c.Name), s.options.Replicas
	if _, err := s.options.Node.Propose(ctx, &c); err != nil {
		return nil, err
	}
	t, ok := s.options.Node.View().Topic(c.Namespace, c.Name)
	if !ok {
		return nil, fmt.Errorf("create topic %s: it was deleted again meanwhile: %w", c.Name, catalog.ErrConflict)
	}
	if err := jetstream.Create(ctx, s.options.Conn, Convert(t)); err != nil {
		return nil, errors.Join(s.explainCreate(t, err), s.takeBack(t))
	}
	return t, nil
}

func (s *Service) explainCreate(t *catalog.Topic, err error) error {
	if errors.Is(err, jetstream.ErrTopicExists) {
		return hint(err, "stream %s is not this topic's; keep what is in it elsewhere, then: nats stream rm %s", t.Stream, t.Stream)
	}
	return err
}

// takeBack removes an entry whose stream cannot be made, also when the caller has gone.
func (s *Service) takeBack(t *catalog.Topic) error {
	ctx, cancel := context.WithTimeout(context.Background(), undoLimit)
	defer cancel()
	_, err := s.options.Node.Propose(ctx, &catalog.DeleteTopic{At: s.now(), Namespace: t.Namespace, Name: t.Name, Incarnation: t.Incarnation})
	if err == nil || errors.Is(err, catalog.ErrNotFound) || errors.Is(err, catalog.ErrStale) {
		return nil
	}
	return fmt.Errorf("take topic %s back: %w", t.Name, err)
}

// Delete removes a topic that no running pipeline uses: its stream, then its
// entry. After a crash between the two it can be deleted again.
func (s *Service) Delete(ctx context.Context, r *weirv1.DeleteTopicRequest) (*weirv1.DeleteTopicResponse, error) {
	t, err := s.find("delete", r.GetNamespace(), r.GetName())
	if err != nil {
		return nil, err
	}
	users, err := s.users(ctx, t.Namespace, t.Name)
	if err != nil {
		return nil, fmt.Errorf("delete topic %s: find who uses it: %w", t.Name, err)
	}
	if len(users.Running) > 0 {
		names := strings.Join(users.Running, ", ")
		return nil, hint(refuse(catalog.ErrInUse, "delete topic %s: pipeline %s uses it and runs", t.Name, names), "stop it first: weir pipeline stop %s", users.Running[0])
	}
	if !s.options.Node.Leads() {
		// Asked before the stream is gone: a follower could not delete the entry.
		if _, err := s.options.Node.Propose(ctx, &catalog.SetTopicRetention{At: s.now(), Namespace: t.Namespace, Name: t.Name, Retention: t.Retention}); err != nil {
			return nil, err
		}
	}
	s.forget(t)
	if err := jetstream.Delete(ctx, s.options.Conn, Convert(t)); err != nil {
		return nil, err
	}
	_, err = s.options.Node.Propose(ctx, &catalog.DeleteTopic{At: s.now(), Namespace: t.Namespace, Name: t.Name, Incarnation: t.Incarnation})
	if err != nil && !errors.Is(err, catalog.ErrNotFound) {
		return nil, err
	}
	return &weirv1.DeleteTopicResponse{}, nil
}

// Reconcile makes the streams that a crash between entry and stream left out.
// It is called when the server starts.
func (s *Service) Reconcile(ctx context.Context) error {
	var errs []error
	for t := range s.options.Node.View().Topics("") {
		err := jetstream.Verify(ctx, s.options.Conn, Convert(t))
		if errors.Is(err, jetstream.ErrNoTopic) {
			s.options.Log.Warn("a topic has no stream and gets an empty one", "topic", catalog.Key(t.Namespace, t.Name), "stream", t.Stream)
			err = jetstream.Create(ctx, s.options.Conn, Convert(t))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("reconcile topic %s: %w", catalog.Key(t.Namespace, t.Name), err))
		}
	}
	return errors.Join(errs...)
}

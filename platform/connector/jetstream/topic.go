// Package jetstream keeps topics as JetStream streams and connects Weir to
// them: a client that publishes, a reader for people, an exactly-once source and
// an exactly-once sink. It must not know tasks, who coordinates checkpoints or
// where the catalog is kept.
package jetstream

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Layout says what stands in a topic's messages when Weir writes them.
type Layout string

// The layouts.
const (
	Frames  Layout = "frames"  // stored frames of many records
	Records Layout = "records" // one record a message, for readers outside Weir
)

// Limits of a topic.
const (
	MaxPartitions     = 256
	DefaultPartitions = 8
	DefaultNamespace  = "default"
)

// Topic says where a topic is: what the catalog knows of it.
type Topic struct {
	Namespace   string
	Name        string
	Partitions  int
	Layout      Layout
	Stream      string // the JetStream stream that holds it; empty: StreamName
	Subject     string // plain clients publish to <Subject>.<key>; empty: the name, with "<namespace>:" in front outside default
	Incarnation uint64
	MaxAge      time.Duration // 0: kept for ever
	MaxBytes    int64         // 0: no limit
	MaxMessages int64         // 0: no limit
	Replicas    int           // 0: 1
	// Deduplicate is how long the server knows the ids of messages that have one
	// (Nats-Msg-Id); 0: as short as it can.
	Deduplicate time.Duration
}

var namePattern = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9_-]{0,62}$`)

// CheckName refuses what is no name of a topic or namespace, and the one name
// under which NATS clients wait for answers.
func CheckName(kind, name string) error {
	if !namePattern.MatchString(name) {
		return fmt.Errorf("%s name %q: use letters, digits, _ and -, 63 at most, beginning with no -", kind, name)
	}
	if name == "_INBOX" {
		return fmt.Errorf("%s name %q belongs to NATS: choose another", kind, name)
	}
	return nil
}

// Normalize fills in defaults.
func (t Topic) Normalize() Topic {
	if t.Namespace == "" {
		t.Namespace = DefaultNamespace
	}
	if t.Partitions == 0 {
		t.Partitions = DefaultPartitions
	}
	if t.Layout == "" {
		t.Layout = Frames
	}
	if t.Stream == "" {
		t.Stream = StreamName(t.Namespace, t.Name)
	}
	if t.Subject == "" {
		t.Subject = t.Name
		if t.Namespace != DefaultNamespace {
			t.Subject = t.Namespace + ":" + t.Name
		}
	}
	if t.Replicas == 0 {
		t.Replicas = 1
	}
	return t
}

// Validate says what is wrong with a normalized topic.
func (t Topic) Validate() error {
	if err := CheckName("namespace", t.Namespace); err != nil {
		return err
	}
	if err := CheckName("topic", t.Name); err != nil {
		return err
	}
	switch {
	case t.Partitions < 1 || t.Partitions > MaxPartitions:
		return fmt.Errorf("topic %s: %d partitions: choose 1 to %d", t.Name, t.Partitions, MaxPartitions)
	case t.Layout != Frames && t.Layout != Records:
		return fmt.Errorf("topic %s: layout %q: choose %s or %s", t.Name, t.Layout, Frames, Records)
	case t.MaxAge < 0 || t.MaxBytes < 0 || t.MaxMessages < 0:
		return fmt.Errorf("topic %s: limits are not negative: leave them out for no limit", t.Name)
	case t.Subject == "" || strings.ContainsAny(t.Subject, ">* \t\r\n") || strings.HasPrefix(t.Subject, "$"):
		return fmt.Errorf("topic %s: subject %q: a subject has no blanks or wildcards and does not begin with $", t.Name, t.Subject)
	case t.Stream == "" || strings.ContainsAny(t.Stream, ">*. /\\\t\r\n"):
		return fmt.Errorf("topic %s: stream %q: a stream's name has no blanks, dots, slashes or wildcards", t.Name, t.Stream)
	}
	return nil
}

// StreamName is the stream of a topic that has one for itself. The plus sign,
// which no name has, keeps (a, b_c) and (a_b, c) apart.
func StreamName(namespace, topic string) string { return "WEIR_" + namespace + "+" + topic }

// internalRoot is where a topic's messages stand, however they came:
//
//	weir.t.<namespace>.<topic>.<partition>.k.<key>     by plain clients
//	weir.t.<namespace>.<topic>.<partition>.r           by our client
//	weir.t.<namespace>.<topic>.<partition>.w.<writer>  by an exactly-once sink
const internalRoot = "weir.t."

func (t Topic) root() string { return internalRoot + t.Namespace + "." + t.Name + "." }

// PartitionFilter matches every message of a partition.
func (t Topic) PartitionFilter(partition int) string {
	return t.root() + strconv.Itoa(partition) + ".>"
}

// recordSubject is where our client publishes.
func (t Topic) recordSubject(partition int) string { return t.root() + strconv.Itoa(partition) + ".r" }

// writerSubject belongs to one writer of an exactly-once sink alone.
func (t Topic) writerSubject(partition int, writer string) string {
	return t.root() + strconv.Itoa(partition) + ".w." + writer
}

// PublicSubject is where a plain NATS client publishes a record of that key:
// <topic>.<key> in the namespace default, <namespace>:<topic>.<key> elsewhere.
// The key is one token: no blanks, dots or wildcards.
func (t Topic) PublicSubject(key string) string { return t.Subject + "." + key }

// PublishExample is a command line that works as it stands.
func (t Topic) PublishExample(url string) string {
	line := "nats pub " + t.PublicSubject("some-key") + " '" + `{"hello":"weir"}` + "'"
	if url != "" {
		line += " --server " + url
	}
	return line
}

// subjectKey gives the key that a plain client put into the subject.
func subjectKey(subject string) ([]byte, bool) {
	// weir t ns topic partition k key: only the last token may be anything.
	for range 5 {
		i := strings.IndexByte(subject, '.')
		if i < 0 {
			return nil, false
		}
		subject = subject[i+1:]
	}
	key, ok := strings.CutPrefix(subject, "k.")
	if !ok {
		return nil, false
	}
	return []byte(key), true
}

// Errors that callers branch on.
var (
	ErrNoTopic     = errors.New("topic has no stream")
	ErrTopicExists = errors.New("topic exists")
	ErrUnfit       = errors.New("stream cannot serve as a topic")
)

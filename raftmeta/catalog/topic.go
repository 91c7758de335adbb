package catalog

import (
	"fmt"
	"time"
)

// MaxPartitions bounds a topic: it is the number of key groups, so more could not be read side by side.
const MaxPartitions = 256

// Layout says what a message of a topic is.
type Layout string

// The layouts: a stored frame of many records a message, or one record a message for outside readers.
const (
	LayoutFrames  Layout = "frames"
	LayoutRecords Layout = "records"
)

// Retention bounds what a topic keeps; zero means no bound.
type Retention struct {
	MaxAgeMs    int64 `json:"max_age_ms,omitempty"`
	MaxBytes    int64 `json:"max_bytes,omitempty"`
	MaxMessages int64 `json:"max_messages,omitempty"`
}

// Topic is a named log. It maps to a stream and a subject prefix, so that topics
// may later share streams. The incarnation is never given again, also not to a
// topic that is deleted and made anew: a position in the old one is told from one in the new.
type Topic struct {
	Namespace   string    `json:"namespace"`
	Name        string    `json:"name"`
	Incarnation uint64    `json:"incarnation"`
	Partitions  int       `json:"partitions"`
	Layout      Layout    `json:"layout"`
	Stream      string    `json:"stream"`
	Subject     string    `json:"subject"` // producers publish to <subject>.<key>
	Replicas    int       `json:"replicas"`
	Retention   Retention `json:"retention"`
	System      string    `json:"system,omitempty"` // why it exists, if no user made it: dead_letter, ingress
	// Origin is the cluster of whose backup it was restored: positions of that one hold in it, if they are of its incarnation.
	Origin  string `json:"origin,omitempty"`
	Created int64  `json:"created"`
	Changed uint64 `json:"changed"`
}

// CreateTopic makes a topic; Result.Number is its incarnation. An empty Stream
// or Subject is derived: the stream from namespace, name and incarnation, the
// subject from the name, after "<namespace>:" outside the default namespace.
type CreateTopic struct {
	At         int64     `json:"at"`
	Namespace  string    `json:"namespace"`
	Name       string    `json:"name"`
	Partitions int       `json:"partitions"`
	Layout     Layout    `json:"layout"`
	Stream     string    `json:"stream,omitempty"`
	Subject    string    `json:"subject,omitempty"`
	Replicas   int       `json:"replicas,omitempty"`
	Retention  Retention `json:"retention"`
	System     string    `json:"system,omitempty"`
	// Origin, Incarnation and Above are of a restore from another cluster's backup: a stream that is
	// there keeps its incarnation, and a new one is above all that the other cluster gave.
	Origin      string `json:"origin,omitempty"`
	Incarnation uint64 `json:"incarnation,omitempty"`
	Above       uint64 `json:"above,omitempty"`
}

// MaxIncarnation bounds the incarnations that a restore may bring.
const MaxIncarnation = 1 << 48

func (c *CreateTopic) apply(tx *txn) error {
	what := "create topic " + c.Name
	if err := checkName("topic", c.Name); err != nil {
		return err
	}
	if err := tx.requireNamespace(what, c.Namespace); err != nil {
		return err
	}
	if old, ok := tx.Topic(c.Namespace, c.Name); ok {
		return refuse(ErrExists, "%s: it has %d partitions, made at %s; choose another name or delete it", what, old.Partitions,
			time.UnixMicro(old.Created).UTC().Format(time.RFC3339))
	}
	if c.Partitions < 1 || c.Partitions > MaxPartitions {
		return refuse(ErrInvalid, "%s with %d partitions: choose 1 to %d", what, c.Partitions, MaxPartitions)
	}
	if c.Layout != LayoutFrames && c.Layout != LayoutRecords {
		return refuse(ErrInvalid, "%s with layout %q: choose %s or %s", what, c.Layout, LayoutFrames, LayoutRecords)
	}
	if err := c.Retention.check(what); err != nil {
		return err
	}
	if c.Replicas < 0 || c.Replicas > 5 {
		return refuse(ErrInvalid, "%s with %d replicas: choose 1 to 5", what, c.Replicas)
	}
	if err := checkLengths(what, c.Stream, c.Subject, c.System); err != nil {
		return err
	}
	incarnation, err := c.incarnation(tx, what)
	if err != nil {
		return err
	}
	t := &Topic{
		Namespace: c.Namespace, Name: c.Name, Incarnation: incarnation, Partitions: c.Partitions, Layout: c.Layout,
		Stream: c.Stream, Subject: c.Subject, Replicas: max(c.Replicas, 1), Retention: c.Retention, System: c.System,
		Origin: c.Origin, Created: c.At, Changed: tx.Revision,
	}
	if t.Stream == "" {
		t.Stream = fmt.Sprintf("%s-%s-%d", t.Namespace, t.Name, t.Incarnation)
	}
	if t.Subject == "" {
		t.Subject = t.Name
		if t.Namespace != DefaultNamespace {
			t.Subject = t.Namespace + ":" + t.Name
		}
	}
	for other := range tx.Topics("") {
		if other.Subject == t.Subject {
			return refuse(ErrConflict, "%s: subject %q belongs to topic %s", what, t.Subject, Key(other.Namespace, other.Name))
		}
	}
	tx.topics = tx.topics.with(Key(c.Namespace, c.Name), t)
	tx.result.Number = t.Incarnation
	tx.changed(KindTopic, Key(c.Namespace, c.Name))
	return nil
}

// incarnation numbers the topic. No number that it knows of is given again.
func (c *CreateTopic) incarnation(tx *txn, what string) (uint64, error) {
	if c.Origin == "" {
		if c.Incarnation != 0 || c.Above != 0 {
			return 0, refuse(ErrInvalid, "%s with an incarnation: only a restore from a backup brings one", what)
		}
		tx.counters.Incarnation++
		return tx.counters.Incarnation, nil
	}
	if err := checkName("cluster", c.Origin); err != nil {
		return 0, err
	}
	if c.Incarnation > MaxIncarnation || c.Above > MaxIncarnation {
		return 0, refuse(ErrInvalid, "%s: its incarnation is above %d, which no cluster gives", what, uint64(MaxIncarnation))
	}
	tx.counters.Incarnation = max(tx.counters.Incarnation, c.Above, c.Incarnation)
	if c.Incarnation != 0 {
		return c.Incarnation, nil
	}
	tx.counters.Incarnation++
	return tx.counters.Incarnation, nil
}

// Incarnations is the highest incarnation that was ever given.
func (s *State) Incarnations() uint64 { return s.counters.Incarnation }

// SetTopicRetention changes what a topic keeps.
type SetTopicRetention struct {
	At        int64     `json:"at"`
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	Retention Retention `json:"retention"`
}

func (c *SetTopicRetention) apply(tx *txn) error {
	what := "set retention of topic " + c.Name
	t, ok := tx.Topic(c.Namespace, c.Name)
	if !ok {
		return refuse(ErrNotFound, "%s: see the list of topics", what)
	}
	if err := c.Retention.check(what); err != nil {
		return err
	}
	if t.Retention == c.Retention {
		return nil
	}
	next := *t
	next.Retention, next.Changed = c.Retention, tx.Revision
	tx.topics = tx.topics.with(Key(c.Namespace, c.Name), &next)
	tx.changed(KindTopic, Key(c.Namespace, c.Name))
	return nil
}

// DeleteTopic removes a topic. Incarnation, when set, must be the topic's.
type DeleteTopic struct {
	At          int64  `json:"at"`
	Namespace   string `json:"namespace"`
	Name        string `json:"name"`
	Incarnation uint64 `json:"incarnation,omitempty"`
}

func (c *DeleteTopic) apply(tx *txn) error {
	t, ok := tx.Topic(c.Namespace, c.Name)
	if !ok {
		return refuse(ErrNotFound, "delete topic %s: see the list of topics", c.Name)
	}
	if c.Incarnation != 0 && c.Incarnation != t.Incarnation {
		return refuse(ErrStale, "delete topic %s: it is incarnation %d now, not %d", c.Name, t.Incarnation, c.Incarnation)
	}
	tx.topics = tx.topics.without(Key(c.Namespace, c.Name))
	tx.deleted(KindTopic, Key(c.Namespace, c.Name))
	return nil
}

func (r Retention) check(what string) error {
	if r.MaxAgeMs < 0 || r.MaxBytes < 0 || r.MaxMessages < 0 {
		return refuse(ErrInvalid, "%s: a bound below zero; 0 means no bound", what)
	}
	return nil
}

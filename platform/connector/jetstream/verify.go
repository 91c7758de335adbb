package jetstream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/weirstream/weir/platform/connector"
)

// verify checks that the stream holds what follows the reader's position. A
// violation is a *connector.DataLost, or under the policy skip a line in the log
// and a position behind the gap.
func (r *reader) verify(ctx context.Context) error {
	s, err := r.cfg.Topic.streamInfo(ctx, r.nc)
	if errors.Is(err, ErrNoTopic) {
		return r.gone()
	}
	if err != nil {
		return err
	}
	return r.verifyState(ctx, s)
}

func (r *reader) verifyState(ctx context.Context, s state) error {
	lost := r.loss(ctx, s)
	var data *connector.DataLost
	if !errors.As(lost, &data) || r.cfg.OnDataLost != connector.SkipLoss || s.incarnation != r.cfg.Topic.Incarnation {
		return lost
	}
	r.cfg.Log.Warn("records are lost and skipped, as configured", "topic", r.cfg.Topic.Name, "partition", r.partition,
		"from", data.From, "to", data.To, "reason", data.Reason)
	r.pos = position{Incarnation: s.incarnation, Sequence: max(s.first, 1) - 1}
	return nil
}

// loss compares the position with the stream.
func (r *reader) loss(ctx context.Context, s state) error {
	p := r.pos
	next := p.Sequence + 1
	if p.Row > 0 {
		next = p.Sequence // the rest of that message is still to be read
	}
	switch {
	case s.incarnation != r.cfg.Topic.Incarnation || p.Incarnation != s.incarnation:
		return r.recreated(s)
	case s.last < p.Sequence:
		return r.lost(s.last+1, p.Sequence, fmt.Sprintf("stream %s ends at %d, before the position %d", r.cfg.Topic.Stream, s.last, p.Sequence))
	case s.first > next:
		return r.lost(next, s.first-1, fmt.Sprintf("stream %s begins at %d: purged, or its limits are too tight for this reader's lag", r.cfg.Topic.Stream, s.first))
	case p.TimeNanos == 0 || p.Sequence < s.first || p.Sequence == 0:
		return nil
	}
	m, ok, err := r.cfg.Topic.message(ctx, r.nc, messageQuery{Sequence: p.Sequence})
	if err != nil || !ok {
		return err
	}
	if m.Time.UnixNano() != p.TimeNanos {
		return r.lost(next, 0, fmt.Sprintf("message %d of stream %s was stored at %s, not at %s: the stream was recreated or restored",
			p.Sequence, r.cfg.Topic.Stream, m.Time.UTC().Format(time.RFC3339Nano), time.Unix(0, p.TimeNanos).UTC().Format(time.RFC3339Nano)))
	}
	return nil
}

func (r *reader) lost(from, to uint64, why string) error {
	return &connector.DataLost{Split: r.cfg.Topic.Name + "/" + strconv.Itoa(r.partition), From: from, To: to, Reason: why}
}

func (r *reader) recreated(s state) error {
	return r.lost(r.pos.Sequence+1, 0, fmt.Sprintf("stream %s is incarnation %d, the topic is %d, the position %d: it was recreated",
		r.cfg.Topic.Stream, s.incarnation, r.cfg.Topic.Incarnation, r.pos.Incarnation))
}

func (r *reader) gone() error {
	return r.lost(r.pos.Sequence+1, 0, fmt.Sprintf("stream %s is gone", r.cfg.Topic.Stream))
}

// checks runs every few seconds. moved says that the position moved on without
// rows: a drained partition keeps up with the stream it shares with others, so
// that their old messages being dropped is no loss of its own.
func (r *reader) checks(ctx context.Context) (fetch connector.Fetch, moved bool, err error) {
	r.check = time.Now().Add(r.cfg.CheckInterval)
	s, err := r.cfg.Topic.streamInfo(ctx, r.nc)
	switch {
	case errors.Is(err, ErrNoTopic):
		return fetch, false, r.gone()
	case errors.Is(err, ErrUnfit):
		return fetch, false, err
	case err != nil:
		// The server does not answer: nothing is known to be lost. Reading goes on or waits.
		r.cfg.Log.Warn("check of a partition's stream got no answer", "topic", r.cfg.Topic.Name, "partition", r.partition, "error", err)
		return fetch, false, ctx.Err()
	}
	if r.drained && s.incarnation == r.pos.Incarnation && s.last > r.pos.Sequence {
		ok, err := r.keepUp(ctx, s.last)
		if err != nil {
			return fetch, false, err
		}
		if ok {
			return connector.Fetch{After: r.Position()}, true, nil
		}
	}
	before := r.pos
	if err := r.verifyState(ctx, s); err != nil {
		return fetch, false, err
	}
	if r.pos != before { // skipped a gap
		if r.pos.Sequence > r.feed.last {
			r.held = nil
			if err := r.feed.start(ctx, r.afterPos()); err != nil {
				return fetch, false, err
			}
			return connector.Fetch{After: r.Position()}, true, nil
		}
		r.pos = before // what comes next was on its way already
	}
	return fetch, false, nil
}

// keepUp moves the position to the stream's sequence if the partition holds
// nothing in between, which the message counts of the stream's leader tell.
func (r *reader) keepUp(ctx context.Context, sequence uint64) (bool, error) {
	last, err := LastSequence(ctx, r.nc, r.cfg.Topic, r.partition)
	if err != nil || last > r.pos.Sequence {
		return false, err
	}
	m, ok, err := r.cfg.Topic.message(ctx, r.nc, messageQuery{Sequence: sequence})
	if err != nil {
		return false, err
	}
	r.pos = position{Incarnation: r.pos.Incarnation, Sequence: sequence}
	if ok {
		r.pos.TimeNanos = m.Time.UnixNano()
	}
	return true, nil
}

package runtime

import (
	"context"
	"time"
)

// runSource polls the source as long as it has something, and otherwise waits.
func (t *Task) runSource(ctx context.Context) error {
	timer := time.NewTimer(TickEvery)
	defer timer.Stop()
	start := time.Now()
	fired := start
	for {
		if now := time.Now(); now.Sub(fired) >= TickEvery/2 { // also while the source never rests
			t.busyNanos.Add(int64(now.Sub(start)))
			start, fired = now, now
			if err := t.fireTimers(); err != nil {
				return err
			}
		}
		select {
		case b := <-t.control:
			if err := t.onTrigger(b); err != nil {
				return err
			}
			continue
		case err := <-t.failure:
			return err
		case <-ctx.Done():
			return nil
		default:
		}
		if !t.drained && !t.ended {
			more, err := t.chain.source.Poll()
			if err != nil {
				return t.chain.nodes[0].wrap(err)
			}
			if t.chain.source.Done() && !more {
				if err := t.endSource(); err != nil {
					return err
				}
				continue
			}
			if more {
				continue
			}
		}
		t.busyNanos.Add(int64(time.Since(start)))
		timer.Reset(t.untilTimer())
		select {
		case b := <-t.control:
			start = time.Now()
			if err := t.onTrigger(b); err != nil {
				return err
			}
		case <-t.wake:
			start = time.Now()
		case <-timer.C:
			start = time.Now()
			if err := t.fireTimers(); err != nil {
				return err
			}
		case err := <-t.failure:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

// runInputs handles what arrives in the inbox.
func (t *Task) runInputs(ctx context.Context) error {
	timer := time.NewTimer(TickEvery)
	defer timer.Stop()
	start := time.Now()
	fired := start
	for {
		var err error
		select { // commands and failures are heard also while there is always work
		case b := <-t.control:
			err = t.onTrigger(b)
		case <-t.wake:
			err = t.onWake()
		case err = <-t.failure:
		default:
		}
		if err != nil {
			return err
		}
		select {
		case m := <-t.spec.Inbox.C: // work first, as long as there is some
			err = t.onMessage(m)
		default:
			if err := t.chain.flush(); err != nil {
				return err
			}
			now := time.Now()
			t.busyNanos.Add(int64(now.Sub(start)))
			timer.Reset(t.untilTimer())
			select {
			case m := <-t.spec.Inbox.C:
				start = time.Now()
				err = t.onMessage(m)
			case b := <-t.control:
				start = time.Now()
				err = t.onTrigger(b)
			case <-t.wake:
				start = time.Now()
				err = t.onWake()
			case <-timer.C:
				start, fired = time.Now(), time.Time{} // due now, however recent the last firing was
			case err = <-t.failure:
			case <-ctx.Done():
				return nil
			}
		}
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
		// A busy inbox must not keep timers waiting, nor who asks how busy the task is.
		if now := time.Now(); now.Sub(fired) >= TickEvery/2 {
			t.busyNanos.Add(int64(now.Sub(start)))
			start, fired = now, now
			if err := t.fireTimers(); err != nil {
				return err
			}
		}
	}
}

func (t *Task) advanceClock() {
	t.clock = max(t.clock, sinceMicros(t.services.Clock()))
	for _, n := range t.chain.nodes {
		if n.state != nil {
			n.state.Advance(t.clock)
		}
	}
}

func (t *Task) fireTimers() error {
	t.advanceClock()
	t.restoring = t.chain.restore()
	if err := t.chain.flush(); err != nil {
		return err
	}
	return t.chain.timers(t.clock)
}

// untilTimer is how long the task may sleep.
func (t *Task) untilTimer() time.Duration {
	if t.restoring {
		return restorePause
	}
	at, ok := t.chain.nextTimer()
	switch {
	case !ok:
		return time.Second
	case t.crowded():
		return TickEvery / 2 // what is due waits for room, and gets no sooner there by asking
	}
	return min(max(time.Duration(at-sinceMicros(t.services.Clock()))*time.Microsecond, 0), time.Second)
}

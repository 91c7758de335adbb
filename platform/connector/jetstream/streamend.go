package jetstream

import (
	"context"
	"time"
)

// endLimit bounds one question for a stream's end.
const endLimit = 5 * time.Second

// streamEnd learns where a stream ends while an epoch fills, so that the task
// does not stand still for the answer at the barrier. An end that is older than
// the transaction is right as well: an empty subject of a stream that begins at
// or before it has never had the transaction.
type streamEnd struct {
	asked  bool
	answer chan endAnswer
	cancel context.CancelFunc
}

type endAnswer struct {
	state state
	err   error
}

// ask asks once an epoch; later calls cost a comparison.
func (e *streamEnd) ask(s *Sink) {
	if e.asked {
		return
	}
	e.asked = true
	ctx, cancel := context.WithTimeout(context.Background(), endLimit)
	answer := make(chan endAnswer, 1)
	e.answer, e.cancel = answer, cancel
	go func() {
		defer cancel()
		st, err := s.cfg.Topic.streamInfo(ctx, s.nc)
		answer <- endAnswer{st, err}
	}()
}

// get gives the answer and ends the epoch's question. One that failed is asked
// again, in the caller's time.
func (e *streamEnd) get(ctx context.Context, s *Sink) (state, error) {
	if e.asked {
		e.asked = false
		select {
		case a := <-e.answer:
			if a.err == nil {
				return a.state, nil
			}
		case <-ctx.Done():
			return state{}, ctx.Err()
		}
	}
	return s.cfg.Topic.streamInfo(ctx, s.nc)
}

// close gives an open question up and waits for its end.
func (e *streamEnd) close() {
	if e.asked {
		e.asked = false
		e.cancel()
		<-e.answer
	}
}

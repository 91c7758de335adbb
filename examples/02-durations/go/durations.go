// Command durations is a module with one function: it pairs START and END events by id and gives up on runs without an END. ../README.md has the rules by number.
package main

import (
	"fmt"
	"time"

	weir "github.com/weirstream/weir/sdk/go"
)

// Limit is how long a run may take.
const Limit = 4 * time.Hour

// Event says that a run began or ended.
type Event struct {
	ID   string
	Kind string
	At   time.Time
}

// Duration is a run with both ends.
type Duration struct {
	ID      string
	Start   time.Time
	End     time.Time
	Seconds int64
}

// GaveUp is a run whose END did not come in time.
type GaveUp struct {
	ID    string
	Start time.Time
}

// Run is what is kept of an id.
type Run struct {
	Start   weir.Null[time.Time] // of the open run
	Waiting weir.Null[time.Time] // an END whose START has not come yet
	Closed  weir.Null[time.Time] // the END of the run that finished last
}

var (
	durations = weir.Keyed("durations", "id").With(weir.Doc("The time between START and END of each run; gives up after four hours."))
	events    = weir.In[Event](durations, "events")
	out       = weir.Out[Duration](durations)
	gaveUp    = weir.Side[GaveUp](durations, "gave_up")
	runs      = weir.ValueOf[Run](durations, "run")
	giveUp    = weir.EventTimer(durations, "give_up")
	settle    = weir.EventTimer(durations, "settle")
)

func init() {
	events.On(onEvent)
	giveUp.On(onGiveUp)
	settle.On(onSettle)
}

func onEvent(ctx *weir.Context, e *Event) error {
	run, _ := runs.Get(ctx)
	switch e.Kind {
	case "START":
		onStart(ctx, &run, e)
	case "END":
		onEnd(ctx, &run, e)
	default:
		return fmt.Errorf("kind %q: want START or END", e.Kind)
	}
	keep(ctx, run)
	return nil
}

func onStart(ctx *weir.Context, run *Run, e *Event) {
	if run.Closed.Valid && !e.At.After(run.Closed.V) {
		return // 1
	}
	if run.Waiting.Valid { // 2
		end := run.Waiting.V
		run.Waiting = weir.None[time.Time]()
		if !e.At.After(end) && end.Sub(e.At) < Limit {
			emit(ctx, e.ID, e.At, end)
			run.Closed = weir.Some(end)
			return
		}
	}
	switch {
	case !run.Start.Valid: // 3
	case !e.At.Before(run.Start.V.Add(Limit)): // 4
		abandon(ctx, run, e.ID)
	case e.At.Before(run.Start.V): // 5
		giveUp.Delete(ctx, run.Start.V.Add(Limit))
	default:
		return // 6
	}
	run.Start = weir.Some(e.At)
	giveUp.Set(ctx, e.At.Add(Limit))
}

func onEnd(ctx *weir.Context, run *Run, e *Event) {
	if run.Closed.Valid && !e.At.After(run.Closed.V) {
		return // 7
	}
	if run.Start.Valid {
		switch took := e.At.Sub(run.Start.V); {
		case took < 0:
			return // 8
		case took < Limit: // 9
			emit(ctx, e.ID, run.Start.V, e.At)
			giveUp.Delete(ctx, run.Start.V.Add(Limit))
			run.Start = weir.None[time.Time]()
			run.Closed = weir.Some(e.At)
			settle.Set(ctx, e.At)
			return
		}
		abandon(ctx, run, e.ID) // 10
	}
	if !run.Waiting.Valid || e.At.Before(run.Waiting.V) { // 11
		run.Waiting = weir.Some(e.At)
	}
	settle.Set(ctx, e.At)
}

func emit(ctx *weir.Context, id string, start, end time.Time) {
	out.EmitAt(ctx, end, Duration{id, start, end, int64(end.Sub(start) / time.Second)})
}

func abandon(ctx *weir.Context, run *Run, id string) {
	limit := run.Start.V.Add(Limit)
	gaveUp.EmitAt(ctx, limit, GaveUp{id, run.Start.V})
	giveUp.Delete(ctx, limit)
	run.Start = weir.None[time.Time]()
}

func onGiveUp(ctx *weir.Context, at time.Time) error {
	run, _ := runs.Get(ctx)
	if run.Start.Valid && run.Start.V.Add(Limit).Equal(at) {
		abandon(ctx, &run, weir.Key[string](ctx))
		keep(ctx, run)
	}
	return nil
}

func onSettle(ctx *weir.Context, at time.Time) error {
	run, _ := runs.Get(ctx)
	for _, end := range []*weir.Null[time.Time]{&run.Waiting, &run.Closed} {
		if end.Valid && !end.V.After(at) {
			*end = weir.None[time.Time]()
		}
	}
	keep(ctx, run)
	return nil
}

func keep(ctx *weir.Context, run Run) {
	if run == (Run{}) {
		runs.Clear(ctx)
		return
	}
	runs.Set(ctx, run)
}

func main() {}

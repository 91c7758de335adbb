// Command flights is a module with one function: it tells when late departures pile up at an airport. README.md defines its words.
package main

import (
	"time"

	weir "github.com/weirstream/weir/sdk/go"
)

const (
	lateMinutes = 30
	window      = time.Hour
	enough      = 3
)

// Flight is a departure.
type Flight struct {
	Departure time.Time
	Origin    string
	Delay     int32 // minutes
}

// Alert says that three departures within an hour were late.
type Alert struct {
	Origin     string
	Departure  time.Time // of the third
	First      time.Time // departure of the first
	WorstDelay int32
}

// Late is a late departure that is kept while it may count.
type Late struct {
	Departure time.Time
	Delay     int32
}

// Episode is a run of late departures with less than an hour between any two.
type Episode struct {
	Newest  time.Time
	Alerted bool
}

var (
	alert   = weir.Keyed("alert", "origin").With(weir.Doc("Three departures within an hour more than 30 minutes late."))
	flights = weir.In[Flight](alert, "flights")
	alerts  = weir.Out[Alert](alert)
	late    = weir.ListOf[Late](alert, "late")
	episode = weir.ValueOf[Episode](alert, "episode")
	quiet   = weir.EventTimer(alert, "quiet")
)

func init() {
	flights.On(onFlight)
	quiet.On(onQuiet)
}

func onFlight(ctx *weir.Context, f *Flight) error {
	if f.Delay <= lateMinutes {
		return nil
	}
	e, known := episode.Get(ctx)
	if known && f.Departure.Sub(e.Newest) >= window {
		// The hour is over; whether its timer has fired already depends on how the stream was cut.
		end(ctx, e)
		e, known = Episode{}, false
	}
	if !known || f.Departure.After(e.Newest) {
		if known {
			quiet.Delete(ctx, e.Newest.Add(window))
		}
		e.Newest = f.Departure
		quiet.Set(ctx, e.Newest.Add(window))
	}
	late.Retain(ctx, func(l *Late) bool { return e.Newest.Sub(l.Departure) < window })
	if e.Newest.Sub(f.Departure) < window {
		late.Append(ctx, Late{f.Departure, f.Delay})
	}
	if !e.Alerted && late.Len(ctx) >= enough {
		e.Alerted = true
		a := Alert{Origin: f.Origin, Departure: f.Departure, First: f.Departure}
		for l := range late.All(ctx) {
			if l.Departure.Before(a.First) {
				a.First = l.Departure
			}
			a.WorstDelay = max(a.WorstDelay, l.Delay)
		}
		alerts.Emit(ctx, a)
	}
	episode.Set(ctx, e)
	return nil
}

// onQuiet ends an episode after an hour without a late departure.
func onQuiet(ctx *weir.Context, _ time.Time) error {
	if e, ok := episode.Get(ctx); ok {
		end(ctx, e)
	}
	return nil
}

func end(ctx *weir.Context, e Episode) {
	quiet.Delete(ctx, e.Newest.Add(window))
	episode.Clear(ctx)
	late.Clear(ctx)
}

func main() {}

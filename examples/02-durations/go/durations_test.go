package main

import (
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/sdk/go/weirtest"
)

var noon = time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)

func at(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }

func harness(t *testing.T) *weirtest.Harness {
	return weirtest.New(t, "durations", weirtest.EventTime("events", "at"), weirtest.Watermarks(10*time.Minute))
}

func TestADayOfRunsGivesWhatTheModelExpects(t *testing.T) {
	for range 10 {
		weirtest.Golden(harness(t), "../testdata/day")
	}
}

func TestAnEndBeforeItsStartWaitsForIt(t *testing.T) {
	h := harness(t)
	h.Send("events", Event{"a", "END", at(5)}, Event{"a", "START", at(0)})
	h.Finish()
	rows := weirtest.Rows[Duration](h, "out")
	if len(rows) != 1 || rows[0].Seconds != 300 {
		t.Errorf("got %v, want one run of 300 s", rows)
	}
	if _, ok := weirtest.State[Run](h, "run", "a"); ok {
		t.Error("state is left after the end")
	}
	if timers := h.Timers("a"); len(timers) > 0 {
		t.Errorf("timers are left: %v", timers)
	}
}

func TestExactlyFourHoursAreTooLong(t *testing.T) {
	h := harness(t)
	h.Send("events", Event{"a", "START", at(0)}, Event{"b", "START", at(0)}, Event{"b", "END", at(240).Add(-time.Microsecond)}, Event{"a", "END", at(240)})
	h.Finish()
	if rows := weirtest.Rows[Duration](h, "out"); len(rows) != 1 || rows[0].ID != "b" || rows[0].Seconds != 4*3600-1 {
		t.Errorf("out: %v, want b with 14399 s", rows)
	}
	if rows := weirtest.Rows[GaveUp](h, "gave_up"); len(rows) != 1 || rows[0].ID != "a" {
		t.Errorf("gave_up: %v, want a", rows)
	}
}

func TestGivingUpTakesTheTimersTime(t *testing.T) {
	h := harness(t)
	h.Send("events", Event{"a", "START", at(0)})
	h.Advance(at(239))
	if rows := h.Output("gave_up"); len(rows) != 0 {
		t.Fatalf("it gave up a minute early: %v", rows)
	}
	h.Advance(at(240))
	if rows := h.Output("gave_up"); len(rows) != 1 || !rows[0].Time.Equal(at(240)) {
		t.Errorf("got %v, want one row at %v", rows, at(240))
	}
}

func TestAnUnknownKindFailsItsRowAlone(t *testing.T) {
	h := harness(t)
	h.Send("events", Event{"a", "START", at(0)}, Event{"a", "PAUSE", at(1)}, Event{"a", "END", at(2)})
	h.Finish()
	if f := h.Failures(); len(f) != 1 || !strings.Contains(f[0].Text, `kind "PAUSE": want START or END`) {
		t.Errorf("failures: %v", f)
	}
	if rows := weirtest.Rows[Duration](h, "out"); len(rows) != 1 || rows[0].Seconds != 120 {
		t.Errorf("got %v, want one run of 120 s", rows)
	}
}

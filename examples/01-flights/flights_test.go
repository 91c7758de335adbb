package main

import (
	"testing"
	"time"

	"github.com/weirstream/weir/sdk/go/weirtest"
)

var ten = time.Date(2001, 1, 1, 10, 0, 0, 0, time.UTC)

func flight(minute int, delay int32) Flight {
	return Flight{Departure: ten.Add(time.Duration(minute) * time.Minute), Origin: "SFO", Delay: delay}
}

func harness(t *testing.T) *weirtest.Harness {
	return weirtest.New(t, "alert", weirtest.EventTime("flights", "departure"), weirtest.Watermarks(5*time.Minute))
}

// run sends departures of one origin and returns the minutes of the alerts.
func run(t *testing.T, flights ...Flight) []int {
	h := harness(t)
	for _, f := range flights {
		h.Send("flights", f)
	}
	h.Finish()
	var minutes []int
	for _, a := range weirtest.Rows[Alert](h, "out") {
		minutes = append(minutes, int(a.Departure.Sub(ten).Minutes()))
	}
	if _, ok := weirtest.State[Episode](h, "episode", "SFO"); ok {
		t.Error("state is left after the end")
	}
	return minutes
}

func expect(t *testing.T, got []int, want ...int) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("alerts at minutes %v, want %v", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("alerts at minutes %v, want %v", got, want)
		}
	}
}

func TestAllFlightsGiveTheAlertsOfTheModel(t *testing.T) {
	weirtest.GoldenFiles(harness(t), "data/flights-20k.jsonl.gz", "data/expected.jsonl")
}

func TestNineDaysOfFebruaryGiveTheAlertsOfTheModel(t *testing.T) {
	for range 10 {
		weirtest.Golden(harness(t), "testdata/february")
	}
}

func TestTheThirdLateDepartureWithinAnHourAlerts(t *testing.T) {
	expect(t, run(t, flight(0, 31), flight(20, 31), flight(59, 31)), 59)
}

func TestExactlyThirtyMinutesAreNotLate(t *testing.T) {
	expect(t, run(t, flight(0, 31), flight(20, 30), flight(40, 31)))
}

func TestExactlySixtyMinutesAreNotWithinAnHour(t *testing.T) {
	expect(t, run(t, flight(0, 31), flight(20, 31), flight(60, 31)))
}

func TestAnActiveAlertStaysSilent(t *testing.T) {
	expect(t, run(t, flight(0, 31), flight(1, 31), flight(2, 31), flight(61, 31), flight(62, 31), flight(63, 31)), 2)
}

func TestExactlyAnHourOfQuietEndsTheAlert(t *testing.T) {
	expect(t, run(t, flight(0, 31), flight(1, 31), flight(2, 31), flight(62, 31), flight(63, 31), flight(64, 31)), 2, 64)
}

func TestDeparturesInTimeDoNotBreakTheQuiet(t *testing.T) {
	expect(t, run(t, flight(0, 31), flight(1, 31), flight(2, 31), flight(30, 0), flight(63, 31), flight(64, 31), flight(65, 31)), 2, 65)
}

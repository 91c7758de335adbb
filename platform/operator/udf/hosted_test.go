package udf

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/operator/operatortest"
)

// say sends scripts of one key as one batch and gives what was said.
func (r *rig) say(scripts ...string) []string {
	r.t.Helper()
	from := len(r.rows[0])
	var rows []operatortest.Row
	for _, s := range scripts {
		rows = append(rows, operatortest.Of(100, "k", s))
	}
	r.send(0, rows...)
	return r.texts(0)[from:]
}

func (r *rig) wants(scripts []string, want ...string) {
	r.t.Helper()
	if got := r.say(scripts...); !slices.Equal(got, want) {
		r.t.Errorf("%s\n got %q\nwant %q", strings.Join(scripts, "\n"), got, want)
	}
}

func TestWritesOfHostedStateAreSeenAtOnceAndThoseOfAFailedCauseVanish(t *testing.T) {
	alive(t)
	r := open(t, plan{function: "script"})
	r.wants([]string{"put 1 10; get 1; scan", "get 1; put 1 11; get 1; delete 2; scan"}, "get 1 10 true", "scan 1=10", "get 1 10 true", "get 1 11 true", "scan 1=11")
	r.wants([]string{"put 2 20; delete 1; clear; put 3 30; append 1; fail so", "scan; list", "put 4 40; fail again", "scan"}, "scan 1=11", "list ", "scan 1=11")
	r.wants([]string{"clear; get 1; scan; put 5 50; scan", "get 1; get 5; scan", "delete 5; put 1 12; scan; fail", "scan"},
		"get 1 0 false", "scan ", "scan 5=50", "get 1 0 false", "get 5 50 true", "scan 5=50", "scan 5=50")
	r.wants([]string{"append 1; append 2; list", "append 3; list; empty; list; append 4", "list; fail", "append 5; list"},
		"list 1,2", "list 1,2,3", "list ", "list 4,5")
	if got := len(r.letters()); got != 4 {
		t.Errorf("%d dead letters, want 4", got)
	}
}

func TestAScanMergesWhatStandsWithWhatIsNewInTheOrderOfKeysPageByPage(t *testing.T) {
	alive(t)
	r := open(t, plan{function: "script"})
	r.say("many 3000 2") // even keys
	want := map[int64]int64{-7: 1, -1: 2}
	for i := range int64(3000) {
		want[2*i] = i
	}
	script := []string{"put -7 1; put -1 2; delete 0; put 4 -4; delete 5998"}
	delete(want, 0)
	delete(want, 5998)
	want[4] = -4
	for i := int64(1); i < 6000; i += 7 { // some odd, some even
		script = append(script, fmt.Sprint("put ", i, " ", -i))
		want[i] = -i
	}
	r.wants([]string{strings.Join(append(script, "scan"), "; ")}, "scan "+joined(want))
	r.wants([]string{"scan"}, "scan "+joined(want)) // now from the backend
}

func TestAnEntryLargerThanAPageIsScannedToo(t *testing.T) {
	alive(t)
	r := open(t, plan{function: "script"})
	r.say("long 1 10; long 3 100000; long 4 5")
	r.wants([]string{"long 2 200000; plans", "plans"}, "plans 1:10,2:200000,3:100000,4:5", "plans 1:10,2:200000,3:100000,4:5")
}

func TestCallsThatWouldWriteTooMuchHostedStateBecomeSmaller(t *testing.T) {
	alive(t)
	r := open(t, plan{function: "script"})
	var scripts []string
	for range 1000 {
		scripts = append(scripts, "many 300 1")
	}
	r.say(scripts...)
	r.say(scripts...)
	if len(r.letters()) != 0 || r.meter.GuestTraps.Load() > 1 {
		t.Errorf("%d dead letters, %d instances died", len(r.letters()), r.meter.GuestTraps.Load())
	}
	r.wants([]string{"get 299; get 300"}, "get 299 299 true", "get 300 0 false")
	r.send(0, operatortest.Of(1, "k", fmt.Sprint("many ", MaxHostedWrites+1, " 1")))
	if len(r.letters()) != 1 || !strings.Contains(letter(r.letters()[0])["reason"].(string), "65536 writes of hosted state in a call, the limit") {
		t.Errorf("dead letters: %v", r.letters())
	}
	r.wants([]string{"get 300"}, "get 300 0 false")
}

func TestTimersFireAsTheirHandlersLeaveThem(t *testing.T) {
	alive(t)
	for name, c := range map[string]struct {
		scripts []string
		want    []string
	}{
		"in order, each once": {[]string{"first 20; first 10; first 20; second 10; second 5"}, []string{"second 5", "first 10", "second 10", "first 20"}},
		"the next is deleted": {[]string{"first 10; first 20; first 30; plan 10 -first 20"}, []string{"first 10", "first 30"}},
		"an earlier is added": {[]string{"first 10; first 30; plan 10 first 20|first 5"}, []string{"first 10", "first 5", "first 20", "first 30"}},
		"it sets itself":      {[]string{"first 10; plan 10 first 10|plan 10 first 11"}, []string{"first 10", "first 10", "first 11"}},
		"the other is stopped": {[]string{"first 10; second 10; second 11; plan 10 -second 10"},
			[]string{"first 10", "second 11"}},
		"deleted and set again": {[]string{"first 10; -first 10; first 10", "-first 20; second 10; -second 10"}, []string{"first 10"}},
		"not yet":               {[]string{"first 41; second 40"}, []string{"second 40"}},
		"the clock is another":  {[]string{"clock 10; first 10"}, []string{"first 10"}},
		"a failed cause sets none": {[]string{"first 10; fail", "second 11; plan 11 first 12|fail", "second 13"},
			[]string{"second 13"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := open(t, plan{function: "script"})
			r.say(c.scripts...)
			r.event(40)
			if got := r.texts(0); !slices.Equal(got, c.want) {
				t.Errorf("fired %q, want %q", got, c.want)
			}
			for i, row := range r.rows[0] {
				if !strings.HasSuffix(row.Values[1].(string), fmt.Sprint(" ", row.Time)) {
					t.Errorf("row %d, %s, has not its timer's time", i, row)
				}
			}
		})
	}
}

func TestATimerSetForATimeThatIsReachedFiresWithTheNextWatermark(t *testing.T) {
	alive(t)
	r := open(t, plan{function: "script"})
	r.event(50)
	r.wants([]string{"first 50; first 20"})
	r.event(51)
	if got := r.texts(0); !slices.Equal(got, []string{"first 20", "first 50"}) {
		t.Errorf("fired %q", got)
	}
}

func TestProcessingTimersGoByTheClock(t *testing.T) {
	alive(t)
	r := open(t, plan{function: "script"})
	r.wants([]string{"clock 10; clock 20; clock 30; plan 10 -clock 20|clock 15; first 5"})
	r.advance(25)
	if got := r.texts(0); !slices.Equal(got, []string{"clock 10", "clock 15"}) {
		t.Errorf("fired %q", got)
	}
	r.advance(29)
	r.advance(30)
	if got := r.texts(0)[2:]; !slices.Equal(got, []string{"clock 30"}) {
		t.Errorf("fired %q", got)
	}
}

func TestTheLeastWatermarkOfTheInputsPassesBehindWhatItFires(t *testing.T) {
	alive(t)
	r := open(t, plan{function: "script"})
	r.say("first 10")
	for i, w := range []element.Watermark{{Time: 30}, {Time: 9}, {Time: 20}} {
		if err := r.Watermark(min(i, 1), w); err != nil {
			t.Fatal(err)
		}
		if want := i / 2; len(r.rows[0]) != want {
			t.Errorf("watermark %d: %d timers fired, want %d", i, len(r.rows[0]), want)
		}
	}
	if want := []element.Watermark{{Time: 9}, {Time: 20}}; !slices.Equal(r.marks, want) {
		t.Errorf("passed on %v, want %v", r.marks, want)
	}
}

func TestOutputAtOrBelowTheWatermarkIsCountedAsLate(t *testing.T) {
	alive(t)
	r := open(t, plan{function: "script"})
	r.event(100)
	r.send(0, operatortest.Of(101, "k", "say in time; at 100; at 101; at 99; first 150"), operatortest.Of(50, "k", "side late; at 120"))
	if n := r.meter.LateRecords.Load(); n != 3 {
		t.Errorf("%d late rows, want 3", n)
	}
	r.event(200) // what a timer says is not late: its watermark stands behind it
	if n := r.meter.LateRecords.Load(); n != 3 {
		t.Errorf("%d late rows after the timer, want 3", n)
	}
	var times []int64
	for _, row := range r.rows[0] {
		times = append(times, row.Time)
	}
	if want := []int64{101, 100, 101, 99, 120, 150}; !slices.Equal(times, want) {
		t.Errorf("times %v, want %v", times, want)
	}
}

func TestAFunctionSeesTheClockTheWatermarkAndItsTask(t *testing.T) {
	alive(t)
	r := open(t, plan{function: "script"})
	r.advance(7)
	r.wants([]string{"now"}, "clock 7 watermark -1 groups 0-255 attempt 4")
	r.event(50)
	r.wants([]string{"now; first 55; plan 55 now"}, "clock 7 watermark 50 groups 0-255 attempt 4")
	r.advance(9)
	r.event(60)
	if got := r.texts(0)[2:]; !slices.Equal(got, []string{"first 55", "clock 9 watermark 60 groups 0-255 attempt 4"}) {
		t.Errorf("said %q", got)
	}
}

package udf

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/operator/deadletter"
	"github.com/weirstream/weir/platform/operator/operatortest"
	"github.com/weirstream/weir/wasmhost"
)

// batchOf gives n rows of ten keys that each add one; at, one row does something else.
func batchOf(r *rig, n, at int, script string) *batch.Batch {
	builder := batch.NewBuilder(r.inputs[0])
	for i := range n {
		builder.Column(0).AppendString(fmt.Sprint("key", i%10))
		if i == at {
			builder.Column(1).AppendString("add 1000; put 1 1; first 50; " + script)
		} else {
			builder.Column(1).AppendString("add 1")
		}
		builder.EndRead(int64(i), uint64(1000+i), int32(i%7))
	}
	return builder.Finish("orders", 3)
}

// letter reads columns of a dead letter by name.
func letter(row operatortest.Row) map[string]any {
	out := map[string]any{}
	for i, f := range deadletter.Schema.Fields {
		out[f.Name] = row.Values[i]
	}
	return out
}

func TestAPoisonedRecordInABatchOfAThousandCostsOnlyItself(t *testing.T) {
	const rows = 1000
	for name, c := range map[string]struct {
		script, reason string
		traps          uint64
	}{
		"it fails":                  {"fail no thanks", "no thanks", 0},
		"it panics":                 {"panic", "panic: on purpose", 3},
		"it runs for ever":          {"loop", "time limit exceeded", 3},
		"it takes all memory":       {"bomb", "memory limit exceeded", 3},
		"its state is too large":    {"text 2000", "the limit is 1000", 0},
		"its output is too large":   {"fill 9000", "emit less for one row", 0},
		"it does what is not there": {"nothing", "no operation nothing", 0},
	} {
		for _, at := range []int{0, 371, rows - 1} {
			t.Run(fmt.Sprint(name, " at ", at), func(t *testing.T) {
				alive(t)
				r := open(t, plan{function: "script", timeoutMs: 300})
				if err := r.Process(0, batchOf(r, rows, at, c.script)); err != nil {
					t.Fatal(err)
				}
				sums := make([]int, 10)
				i := 0
				for _, row := range r.rows[0] {
					if i == at {
						i++
					}
					sums[i%10]++
					if want := fmt.Sprintf("+I@%d(string:key%d, string:sum %d)", i, i%10, sums[i%10]); row.String() != want {
						t.Fatalf("row %d is %s, want %s", i, row, want)
					}
					i++
				}
				if len(r.rows[0]) != rows-1 {
					t.Errorf("%d rows came out, want %d", len(r.rows[0]), rows-1)
				}
				if n := len(r.letters()); n != 1 || r.meter.DeadLetters.Load() != 1 {
					t.Fatalf("%d dead letters, %d counted, want one", n, r.meter.DeadLetters.Load())
				}
				got := letter(r.letters()[0])
				if r.letters()[0].Time != int64(at) || got["topic"] != "orders" || got["partition"] != int64(3) || got["sequence"] != int64(1000+at) ||
					got["row"] != int64(at%7) || got["decoded"] != true || got["operator"] != "script" || got["pipeline"] != "test" {
					t.Errorf("the letter is %v", got)
				}
				if !strings.Contains(got["reason"].(string), c.reason) {
					t.Errorf("the reason is %q, want %q in it", got["reason"], c.reason)
				}
				if want := fmt.Sprintf(`{"key":"key%d","script":"add 1000; put 1 1; first 50; %s"}`, at%10, c.script); got["value"] != want {
					t.Errorf("the value is %s, want %s", got["value"], want)
				}
				// Nothing of it stays behind: no state, no entry, no timer.
				r.event(1 << 40)
				r.send(0, operatortest.Of(1, fmt.Sprint("key", at%10), "sum; get 1"))
				if got := r.texts(0)[rows-1:]; got[0] != "sum 99 true" || got[1] != "get 1 0 false" || len(got) != 2 {
					t.Errorf("behind it: %v", got)
				}
				if n := r.meter.GuestTraps.Load(); n > c.traps {
					t.Errorf("%d instances died, want at most %d", n, c.traps)
				}
			})
		}
	}
}

func TestARefusedRecordFailsTheJobIfThereAreNoDeadLetters(t *testing.T) {
	alive(t)
	for script, want := range map[string]string{"fail no thanks": "no thanks", "panic": "panic: on purpose"} {
		r := open(t, plan{function: "script", failing: true})
		err := r.Process(0, batchOf(r, 20, 7, script))
		var fault *UserError
		if !errors.As(err, &fault) || !fault.UserFault() {
			t.Fatalf("%s: %v is not the user's fault", script, err)
		}
		for _, part := range []string{want, "function script refused a record of orders, partition 3, sequence 1007, row 0"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %v does not say %q", script, err, part)
			}
		}
	}
}

func TestAFailedFiringGoesToTheDeadLettersWithItsKey(t *testing.T) {
	alive(t)
	r := open(t, plan{function: "script"})
	r.send(0, operatortest.Of(1, "a", "first 10; first 20; plan 10 add 5|panic"), operatortest.Of(1, "b", "first 10; second 10; plan 10 fail not now|side x"),
		operatortest.Of(1, "c", "first 10; plan 10 add 1"))
	r.event(30)
	got := byKey(r.rows[0])
	for key, want := range map[string]string{
		"a": "[+I@20(string:a, string:first 20)]",
		// What the first firing did is undone, so the second finds the plan again.
		"b": "[]",
		"c": "[+I@10(string:c, string:first 10) +I@10(string:c, string:sum 1)]",
	} {
		if fmt.Sprint(got[key]) != want {
			t.Errorf("key %s: %v, want %s", key, got[key], want)
		}
	}
	reasons := map[string]string{}
	for _, row := range r.letters() {
		l := letter(row)
		reasons[l["value"].(string)] += l["reason"].(string) + ";"
		if row.Time != 10 || l["topic"] != nil {
			t.Errorf("the letter is %v at %d", l, row.Time)
		}
	}
	if len(r.letters()) != 3 || !strings.HasPrefix(reasons[`{"key":"a"}`], "timer first: panic: on purpose (weir_call: guest trapped") ||
		reasons[`{"key":"b"}`] != "timer first: not now;timer second: not now;" {
		t.Errorf("the dead letters say %v", reasons)
	}
}

func TestManyBadRecordsAreEachRefusedOnce(t *testing.T) {
	alive(t)
	var r *rig
	sent := 0
	r = open(t, plan{function: "script", deps: Deps{BeforeCall: func(*wasmhost.Instance) error {
		sent += r.call.CauseCount()
		return nil
	}}})
	var rows []operatortest.Row
	for i := range 600 {
		script := "add 1"
		if i%3 > 0 {
			script = "add 100; fail bad"
		}
		rows = append(rows, operatortest.Of(int64(i), "k", script))
	}
	r.send(0, rows...)
	if len(r.rows[0]) != 200 || len(r.letters()) != 400 {
		t.Fatalf("%d rows and %d dead letters, want 200 and 400", len(r.rows[0]), len(r.letters()))
	}
	if sent > 20*len(rows) {
		t.Errorf("%d records were sent to have 600 handled", sent)
	}
	for i := range 200 {
		if want := fmt.Sprintf("+I@%d(string:k, string:sum %d)", 3*i, i+1); r.rows[0][i].String() != want {
			t.Fatalf("row %d is %s, want %s", i, r.rows[0][i], want)
		}
	}
}

func TestACallThatIsFullIsFollowedByAnother(t *testing.T) {
	alive(t)
	r := open(t, plan{function: "script"})
	var rows []operatortest.Row
	for i := range 40 { // 20 MiB of output
		rows = append(rows, operatortest.Of(int64(i), "k", "fill 500; add 1"))
	}
	r.rowsPerCall = len(rows)
	r.send(0, rows...)
	if len(r.rows[0]) != 40*501 || len(r.letters()) != 0 {
		t.Fatalf("%d rows, %d dead letters", len(r.rows[0]), len(r.letters()))
	}
	for i, row := range r.rows[0] {
		want := fmt.Sprintf("%1024d", i%501)
		if i%501 == 500 {
			want = fmt.Sprint("sum ", i/501+1)
		}
		if row.Values[1] != want || row.Time != int64(i/501) {
			t.Fatalf("row %d is %s", i, row)
		}
	}
	if calls := r.meter.GuestCalls.Load(); calls < 4 {
		t.Errorf("%d calls were enough for 20 MiB", calls)
	}
}

func TestACallThatWouldBeTooLargeIsCutAndARecordThatIsByItselfIsRefused(t *testing.T) {
	alive(t)
	r := open(t, plan{function: "script"})
	large := strings.Repeat("x", 900_000)
	var rows []operatortest.Row
	for i := range 30 {
		rows = append(rows, operatortest.Of(int64(i), "k", "add 1; say "+large))
		if i == 20 {
			rows = append(rows, operatortest.Of(int64(i), "k", "add 1; say "+strings.Repeat("y", 9<<20)))
		}
	}
	b := operatortest.Batch(nil, r.inputs[0], rows)
	r.rowsPerCall = 4096
	if err := r.Process(0, b); err != nil {
		t.Fatal(err)
	}
	if len(r.rows[0]) != 60 || r.rows[0][58].Values[1] != "sum 30" || len(r.letters()) != 1 {
		t.Fatalf("%d rows and %d dead letters, want 60 and one", len(r.rows[0]), len(r.letters()))
	}
	if reason := letter(r.letters()[0])["reason"].(string); !strings.Contains(reason, "call too large") || !strings.Contains(reason, "the cap is 8388608") {
		t.Errorf("the reason is %s", reason)
	}
	if n := r.meter.GuestTraps.Load(); n != 0 {
		t.Errorf("%d instances died of it", n)
	}
}

func TestAFewLargeRecordsAmongManySmallOnesAreCutApart(t *testing.T) {
	alive(t)
	r := open(t, plan{function: "script"})
	large := strings.Repeat("x", 900_000)
	var rows []operatortest.Row
	for i := range 1500 {
		script := "add 1"
		if i >= 5 && i < 17 { // together over the cap of a call
			script = "add 1; side " + large
		}
		rows = append(rows, operatortest.Of(int64(i), "k", script))
	}
	r.send(0, rows...)
	if len(r.rows[0]) != 1500 || r.rows[0][1499].Values[1] != "sum 1500" || len(r.rows[1]) != 12 || len(r.letters()) != 0 {
		t.Errorf("%d and %d rows, %d dead letters", len(r.rows[0]), len(r.rows[1]), len(r.letters()))
	}
	if n := r.meter.GuestTraps.Load(); n != 0 {
		t.Errorf("%d instances died of it", n)
	}
}

func TestATimeLimitThatFailsOnlyInCompanyIsNoRecordsFault(t *testing.T) {
	alive(t)
	r := open(t, plan{module: hostileModule, function: "puppet", timeoutMs: 30})
	var rows []operatortest.Row
	for i := range int64(60) {
		answer := ""
		if i%20 == 7 {
			answer = "S" // spins unless it is alone
		}
		rows = append(rows, operatortest.Of(i, i, answer))
	}
	started := time.Now()
	r.send(0, rows...)
	if len(r.letters()) != 0 || len(r.rows[0]) != 60 {
		t.Fatalf("%d rows and %d dead letters, want 60 and none", len(r.rows[0]), len(r.letters()))
	}
	for i, row := range r.rows[0] {
		if row.Values[0] != int64(i) {
			t.Fatalf("row %d has key %v", i, row.Values[0])
		}
	}
	if r.meter.GuestTraps.Load() == 0 || time.Since(started) > 10*time.Second {
		t.Errorf("%d instances died in %v", r.meter.GuestTraps.Load(), time.Since(started))
	}
}

func TestASlowFunctionGetsSmallerCallsAndLosesNoRecord(t *testing.T) {
	alive(t)
	r := open(t, plan{function: "script", timeoutMs: 150})
	var rows []operatortest.Row
	for i := range 300 { // about a second in all
		rows = append(rows, operatortest.Of(int64(i), "k", "spin 2000000; add 1"))
	}
	r.send(0, rows...)
	if len(r.letters()) != 0 || len(r.rows[0]) != 300 || r.rows[0][299].Values[1] != "sum 300" {
		t.Errorf("%d rows and %d dead letters, want 300 and none", len(r.rows[0]), len(r.letters()))
	}
	if n := r.meter.GuestTraps.Load(); n == 0 || n > 7 {
		t.Errorf("%d instances died", n)
	}
}

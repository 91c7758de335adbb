package udf

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/weirstream/weir/abi"
	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/operator/operatortest"
	"github.com/weirstream/weir/platform/storage/state"
)

// The answers below are to a call with one cause, whose slot is 0, of the
// function puppet in testdata/hostile.c.

type section struct {
	id, flags uint16
	index     uint32
	body      []byte
}

func answer(sections ...section) string {
	var w frame.ContainerWriter
	w.Reset(frame.KindEffects)
	for _, s := range sections {
		w.Reserve(s.id, s.index, s.flags, len(s.body))
	}
	b := make([]byte, w.Size())
	w.Begin(b)
	for i, s := range sections {
		copy(w.Body(i), s.body)
	}
	return string(b)
}

func must(id uint16, index uint32, body []byte) section {
	return section{id, abi.SectionMustUnderstand, index, body}
}

func words(v ...uint32) []byte {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, x)
	}
	return b
}

func result1(consumed, status, code uint32) section {
	return must(abi.EffectsSectionResult, 0, words(consumed, status, code, 0))
}

var done = result1(1, abi.StatusDone, 0)

// block is rows of integers and texts.
func block(s string, rows ...[]any) []byte {
	b := frame.NewBuilder(schema.MustParse(s))
	for _, row := range rows {
		for i, v := range row {
			switch v := v.(type) {
			case nil:
				b.Column(i).AppendNull()
			case int:
				b.Column(i).AppendInt(int64(v))
			case string:
				b.Column(i).AppendString(v)
			}
		}
	}
	return b.AppendTo(nil)
}

func outputs(rows ...[]any) []byte { return block("key:int64,text:utf8", rows...) }
func writes(rows ...[]any) []byte {
	return block("cause:int32,slot:int32,value:binary?", rows...)
}
func changes(rows ...[]any) []byte {
	return block("cause:int32,slot:int32,kind:int8,op:int8,timer:int16,time:int64", rows...)
}

func spoil(s string, at int, v uint32) string {
	b := []byte(s)
	binary.LittleEndian.PutUint32(b[at:], v)
	return string(b)
}

func spoilBlock(b []byte, at int, v uint32) []byte { return []byte(spoil(string(b), at, v)) }

func TestEveryAnswerThatBreaksTheContractIsNamedAndItsRecordIsolated(t *testing.T) {
	row := []any{1, "text"}
	good := outputs(row)
	for name, c := range map[string]struct{ answer, want string }{
		"the magic alone":                {"WRC1", "bad container: 4 bytes"},
		"a size that is not its own":     {spoil(answer(done), 4, 8), "size of effects is 8"},
		"another kind of container":      {spoil(answer(done), 8, 3|1<<16), "it is open"},
		"more sections than bytes":       {spoil(answer(done), 8, 2|200<<16), "200 sections"},
		"a section out of bounds":        {spoil(answer(done), 16+8, 1<<30), "is outside of"},
		"a section twice":                {answer(done, done), "stands twice"},
		"an unknown section":             {answer(done, must(37, 0, nil)), "unknown section 37 in effects: upgrade the host"},
		"no result":                      {answer(), "bad result"},
		"a short result":                 {answer(must(abi.EffectsSectionResult, 0, words(1))), "want 16"},
		"more causes than there are":     {answer(result1(2, 0, 0)), "consumed 2 of 1 causes"},
		"fewer causes than there are":    {answer(result1(0, 0, 0)), "done, but consumed 0 of 1"},
		"more without any":               {answer(result1(0, abi.StatusMore, 0)), "more, but consumed 0 of 1"},
		"a status that is reserved":      {answer(result1(1, abi.StatusWants, 0)), "unknown status 3"},
		"a code of the future":           {answer(result1(0, abi.StatusFailed, 9)), "unknown code 9"},
		"a text that is none":            {answer(result1(0, abi.StatusFailed, 0), must(abi.EffectsSectionText, 0, []byte{0xff})), "text: not UTF-8"},
		"an output that is not there":    {answer(done, must(abi.EffectsSectionOutput, 5, good)), "output 5: no such output"},
		"an output without causes":       {answer(done, must(abi.EffectsSectionOutput, 0, good)), "want 4 for each of 1 rows"},
		"causes without an output":       {answer(done, must(abi.EffectsSectionCauses, 0, words(0))), "without rows of that output"},
		"an output of no cause":          {answer(done, must(abi.EffectsSectionOutput, 0, good), must(abi.EffectsSectionCauses, 0, words(1))), "bad cause: 1, consumed is 1"},
		"an output of a failed cause":    {answer(result1(0, abi.StatusFailed, 0), must(abi.EffectsSectionOutput, 0, good), must(abi.EffectsSectionCauses, 0, words(0))), "bad cause: 0, consumed is 0"},
		"an output of another schema":    {answer(done, must(abi.EffectsSectionOutput, 0, block("key:int64", []any{1}))), "1 nodes, the schema has 2"},
		"a block of another size":        {answer(done, must(abi.EffectsSectionOutput, 0, spoilBlock(good, 8, 8))), "size says 8"},
		"rows without bytes":             {answer(done, must(abi.EffectsSectionOutput, 0, spoilBlock(good, 0, 1<<24))), "want 16777216"},
		"values outside of their block":  {answer(done, must(abi.EffectsSectionOutput, 0, spoilBlock(good, 16+8, 1<<20))), "outside of the block"},
		"offsets outside of their bytes": {answer(done, must(abi.EffectsSectionOutput, 0, spoilBlock(good, len(good)-16+4, 77))), "the last offset is 77"},
		"an utf8 that is none":           {answer(done, must(abi.EffectsSectionOutput, 0, outputs([]any{1, "\xff\xfe"})), must(abi.EffectsSectionCauses, 0, words(0))), "not UTF-8"},
		"times for other rows":           {answer(done, must(abi.EffectsSectionOutput, 0, good), must(abi.EffectsSectionCauses, 0, words(0)), must(abi.EffectsSectionTimes, 0, words(1))), "bad section"},
		"kinds without the capability":   {answer(done, must(abi.EffectsSectionOutput, 0, good), must(abi.EffectsSectionCauses, 0, words(0)), must(abi.EffectsSectionKinds, 0, []byte{1})), "without the capability changelog"},
		"a write of hosted state":        {answer(done, must(abi.EffectsSectionWrites, 1, writes([]any{0, 0, "v"}))), "only framed states are written by frame"},
		"a write of no state":            {answer(done, must(abi.EffectsSectionWrites, 9, writes([]any{0, 0, "v"}))), "state 9: no such framed state"},
		"a write to no slot":             {answer(done, must(abi.EffectsSectionWrites, 0, writes([]any{0, 7, "v"}))), "bad slot: 7, the call has 1"},
		"a write to a negative slot":     {answer(done, must(abi.EffectsSectionWrites, 0, writes([]any{0, -1, "v"}))), "bad slot: -1"},
		"a write of no cause":            {answer(done, must(abi.EffectsSectionWrites, 0, writes([]any{-1, 0, "v"}))), "bad cause: -1"},
		"a write over max_bytes":         {answer(done, must(abi.EffectsSectionWrites, 0, writes([]any{0, 0, strings.Repeat("v", 17)}))), "framed has 17 bytes, max_bytes is 16"},
		"a timer that is not there":      {answer(done, must(abi.EffectsSectionChanges, 0, changes([]any{0, 0, 2, 0, 3, 9}))), "number 3, the function has 1"},
		"a timer of another kind":        {answer(done, must(abi.EffectsSectionChanges, 0, changes([]any{0, 0, 3, 0, 0, 9}))), "tick has kind 2, not 3"},
		"a timer operation of no kind":   {answer(done, must(abi.EffectsSectionChanges, 0, changes([]any{0, 0, 2, 5, 0, 9}))), "operation 5"},
		"a timer without a time":         {answer(done, must(abi.EffectsSectionChanges, 0, changes([]any{0, 0, 2, 0, 0, int(element.MinTime)}))), "tick has no time"},
		"a timer in another slot":        {answer(done, must(abi.EffectsSectionChanges, 0, changes([]any{0, 1, 2, 0, 0, 9}))), "bad slot: 1"},
		"garbage behind the magic":       {"WRC1" + strings.Repeat("\xa5", 100), "bad container"},
		"an append to a map":             {"ia", "state hosted is a map: append is for lists"},
		"a put to a list":                {"ip", "state log is a list: append to it, scan it or clear it"},
		"a get from a list":              {"ig", "state log is a list"},
		"a put to framed state":          {"if", "state framed of function puppet is framed: it travels in the call"},
		"a put to no state":              {"in", "state 9 of function puppet: it has 3"},
		"a put to no slot":               {"is", "slot 7777: the call has 1"},
		"a put outside of a cause":       {"io", "write of state hosted outside of a cause"},
		"a put under a cause not there":  {"im", "write of state hosted outside of a cause"},
		"a trap under way":               {"P", "guest trapped"},
		"a trap that says nothing":       {"Q", "guest trapped"},
	} {
		t.Run(name, func(t *testing.T) {
			alive(t)
			r := open(t, plan{module: hostileModule, function: "puppet"})
			var rows []operatortest.Row
			for i := range int64(50) {
				text := ""
				if i == 23 {
					text = c.answer
				}
				rows = append(rows, operatortest.Of(i, i, text))
			}
			r.send(0, rows...)
			if len(r.rows[0]) != 49 || len(r.letters()) != 1 {
				t.Fatalf("%d rows and %d dead letters, want 49 and one", len(r.rows[0]), len(r.letters()))
			}
			for i, row := range r.rows[0] {
				if i >= 23 {
					i++
				}
				if row.Values[0] != int64(i) || row.Time != int64(i) {
					t.Fatalf("got row %s in place of %d", row, i)
				}
			}
			if l := letter(r.letters()[0]); !strings.Contains(l["reason"].(string), c.want) || r.letters()[0].Time != 23 {
				t.Errorf("the reason is %q, want %q in it", l["reason"], c.want)
			}
			if n := r.meter.GuestTraps.Load(); n == 0 {
				t.Error("no instance died of it")
			}
			if n := r.state.Stats(); n.Keys-n.Timers < 0 || n.Timers != 0 {
				t.Errorf("%d timers are set", n.Timers)
			}
		})
	}
}

func TestAFunctionThatReadsNoCallAtAllFailsTheJobAndNotItsRecords(t *testing.T) {
	for name, c := range map[string]struct{ answer, want string }{
		"its SDK says so":         {"R", "cannot read the call: no rows"},
		"it dies before a cause":  {"Q", "guest trapped"},
		"its answers are garbage": {"WRC1", "bad container"},
	} {
		t.Run(name, func(t *testing.T) {
			alive(t)
			r := open(t, plan{module: hostileModule, function: "puppet"})
			var err error
			for i := int64(0); i < 100 && err == nil; i++ {
				err = r.try(0, operatortest.Of(i, i, c.answer), operatortest.Of(i, i, c.answer))
			}
			var fault *UserError
			if !errors.As(err, &fault) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "is broken, not its records: the last 16") {
				t.Errorf("got %v", err)
			}
			if len(r.letters()) != maxOutsideRefusals-1 {
				t.Errorf("%d dead letters", len(r.letters()))
			}
		})
	}
}

func TestRecordsThatDieOutsideOfAHandlerNowAndThenDoNotFailTheJob(t *testing.T) {
	alive(t)
	r := open(t, plan{module: hostileModule, function: "puppet"})
	for i := range int64(3 * maxOutsideRefusals) {
		r.send(0, operatortest.Of(i, i, "WRC1"), operatortest.Of(i, i, ""))
	}
	if len(r.letters()) != 3*maxOutsideRefusals || len(r.rows[0]) != 3*maxOutsideRefusals {
		t.Errorf("%d rows, %d dead letters", len(r.rows[0]), len(r.letters()))
	}
}

func TestAHandlerMayRefuseAnyNumberOfRecordsInARow(t *testing.T) {
	alive(t)
	r := open(t, plan{function: "script"})
	for i := range int64(200) {
		r.send(0, operatortest.Of(i, "k", "fail the same text"))
	}
	if len(r.letters()) != 200 {
		t.Errorf("%d dead letters", len(r.letters()))
	}
}

func TestAGuestThatDiesInCompanyWithoutEndIsServedByItself(t *testing.T) {
	alive(t)
	r := open(t, plan{module: hostileModule, function: "puppet"})
	var rows []operatortest.Row
	for i := range int64(300) {
		rows = append(rows, operatortest.Of(i, i, "C"))
	}
	r.send(0, rows...)
	if len(r.rows[0]) != 300 || len(r.letters()) != 0 {
		t.Fatalf("%d rows and %d dead letters, want 300 and none", len(r.rows[0]), len(r.letters()))
	}
	if n := r.meter.GuestTraps.Load(); n > 30 {
		t.Errorf("%d instances died of 300 records: the calls should have become smaller", n)
	}
}

func TestAnyDeathsAtAnyCausesEndInFewCalls(t *testing.T) {
	// Whatever a guest says of where it was, each death in company halves the next call.
	for name, at := range map[string]func(n int) uint32{
		"it says nothing":       func(int) uint32 { return abi.NoCause },
		"it says the last":      func(n int) uint32 { return uint32(n - 1) },
		"it says the first":     func(int) uint32 { return 0 },
		"it says what is not":   func(n int) uint32 { return uint32(n) },
		"it says the middle":    func(n int) uint32 { return uint32(n / 2) },
		"it says almost halves": func(n int) uint32 { return uint32(n/2 + 1) },
	} {
		h := hunt{culprit: -1}
		n, calls := MaxRowsPerCall, 0
		for {
			n = h.next(0, MaxRowsPerCall)
			calls++
			guilty, err := h.died(0, n, at(n), n == 1)
			if err != nil {
				t.Fatalf("%s: %v after %d calls", name, err, calls)
			}
			if guilty {
				break
			}
		}
		if n != 1 || calls > 16 {
			t.Errorf("%s: %d calls, the last with %d causes", name, calls, n)
		}
	}
}

func TestADeathOnAnInstanceThatWasUsedBeforeIsNoStrike(t *testing.T) {
	h := hunt{culprit: -1}
	for i, c := range []struct{ fresh, guilty bool }{{false, false}, {true, false}, {true, true}} {
		h.next(0, 1)
		if guilty, err := h.died(0, 1, 0, c.fresh); guilty != c.guilty || err != nil {
			t.Errorf("death %d: guilty %t, %v", i, guilty, err)
		}
	}
	h.progress(0, true)
	for range maxBarrenCalls {
		h.died(1, 1, 0, false)
	}
	if _, err := h.died(1, 1, 0, false); err == nil {
		t.Error("calls without progress have no end")
	}
}

func TestATimerThatSetsItselfForEverIsTheUsersError(t *testing.T) {
	alive(t)
	set := func(r *rig) {
		at := binary.LittleEndian.AppendUint64([]byte{'T'}, 100)
		r.send(0, operatortest.Of(1, int64(1), string(at)))
	}
	r := open(t, plan{module: hostileModule, function: "puppet"})
	set(r)
	r.event(50_100) // the timer sets itself for the next microsecond: that ends
	if n := r.meter.GuestCalls.Load(); n != 50_002 {
		t.Errorf("%d calls, want one for each microsecond and one for the row", n)
	}
	err := r.tryEvent(element.MaxTime)
	var fault *UserError
	if !errors.As(err, &fault) {
		t.Fatalf("got %v, want the user's error", err)
	}
	for _, part := range []string{"timer tick of function puppet never ends", "event time has come to its end", "do not set it again once the watermark has reached the new time"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not say %q", err, part)
		}
	}
}

func TestChainsOfTimersThatComeFurtherOrEndAreLetThrough(t *testing.T) {
	firing := func(at int64) []state.Firing { return []state.Firing{{Timer: state.Timer{Time: at}}} }
	stats := func(timers, keys int) state.Stats { return state.Stats{Timers: timers, Keys: keys} }
	w := endless{last: element.MinTime}
	for i := range int64(3 * MaxChainedFirings) {
		if w.suspects(firing(i), 1<<40) {
			t.Fatalf("a chain that comes further is stopped at firing %d", i)
		}
	}
	w = endless{last: element.MinTime}
	stopped := 0
	for range 5 * MaxChainedFirings {
		if w.suspects(firing(7), 1<<40) && w.certain(stats(10, 3)) {
			break
		}
		stopped++
	}
	if want := 2*MaxChainedFirings + 10 + 3*MaxChainedFiringsPerKey + 1; stopped != want {
		t.Errorf("a timer that sets itself for the same time is stopped after %d firings, want %d", stopped, want)
	}
	w = endless{last: element.MinTime}
	standing := 10 * MaxChainedFirings
	for i := range standing {
		if w.suspects(firing(int64(i)), element.MaxTime) && w.certain(stats(standing-i, 1)) {
			t.Fatalf("timers that stood are stopped at %d", i)
		}
	}
}

package frame

import (
	"errors"
	"fmt"
	"testing"

	"github.com/weirstream/weir/abi"
	"github.com/weirstream/weir/abi/schema"
)

var callSig = &Signature{
	Name: "f", Inputs: []*schema.Schema{schema.MustParse("x:bool"), schema.MustParse("k:utf8,n:int64")}, Key: schema.MustParse("k:utf8"),
	States: []StateSignature{{Name: "a", Framed: true, MaxBytes: 100}, {Name: "hosted"}, {Name: "b", Framed: true, MaxBytes: 100}},
	Timers: []TimerSignature{{Name: "t", Kind: abi.TimerEvent}}, Changelog: true, Positions: true,
}

// callOfFive picks rows 4, 1, 2 of five; their keys are two.
func callOfFive() *Call {
	b := NewBuilder(callSig.Inputs[1])
	meta := NewBuilder(metaSchema)
	for i := range 5 {
		b.Column(0).AppendString([]string{"even", "odd"}[i%2])
		b.Column(1).AppendInt64(int64(i))
		meta.AppendRow(intRow(7, int64(100+i), 0), 0)
	}
	return &Call{
		Clock: 5, Watermark: abi.NoTime, Seed: 9, Attempt: 2, LastGroup: 255, MaxOutput: 1 << 20,
		Input: 1, Columns: b.Columns(), Selection: []int32{4, 1, 2}, Times: []int64{0, 10, 20, 30, 40}, Kinds: []byte{0, 1, 2, 3, 2}, Meta: meta.Columns(),
		Slots: 2, RowSlots: []uint32{0, 1, 0}, Keys: b.Columns()[:1], KeySelection: []int32{4, 1},
		States: []StateValues{{Values: [][]byte{[]byte("state of even"), nil}}, {}, {Values: [][]byte{{}, []byte("B")}}},
	}
}

func intRow(partition int32, sequence int64, row int32) []Column {
	b := NewBuilder(metaSchema)
	b.Column(0).AppendInt32(partition)
	b.Column(1).AppendInt64(sequence)
	b.Column(2).AppendInt32(row)
	return b.Columns()
}

func TestACallHoldsWhatTheSelectionPicks(t *testing.T) {
	var w CallWriter
	call := callOfFive()
	n, err := w.Prepare(callSig, call)
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]byte, n)
	for i := range dst {
		dst[i] = 0xaa // a guest's memory is not clean
	}
	if w.Write(dst) != n {
		t.Fatal("size differs")
	}
	var r CallReader
	got, err := r.Read(callSig, dst)
	if err != nil {
		t.Fatal(err)
	}
	have := fmt.Sprintln(got.Input, got.Columns[1].Int64s(), got.Times, got.Kinds, got.Meta[1].Int64s(), got.RowSlots, got.Keys[0].StringAt(0), got.Keys[0].StringAt(1))
	if want := "1 [4 1 2] [40 10 20] [2 1 2] [104 101 102] [0 1 0] even odd\n"; have != want {
		t.Errorf("have %s, want %s", have, want)
	}
	a, b := got.States[0].Column, got.States[2].Column
	if a.StringAt(0) != "state of even" || !a.Null(1) || b.Null(0) || b.StringAt(0) != "" || b.StringAt(1) != "B" || got.States[1].Column != nil {
		t.Errorf("states %+v %+v", a, b)
	}
	if got.Watermark != abi.NoTime || got.Attempt != 2 || got.LastGroup != 255 || got.Slot(1) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestAFiringHoldsItsCausesAndNoRows(t *testing.T) {
	call := callOfFive()
	call.Columns, call.Selection, call.RowSlots, call.Times, call.Kinds, call.Meta = nil, nil, nil, nil, nil, nil
	call.Causes = []Cause{{Kind: abi.CauseEventTimer, Slot: 1, Time: 77}, {Kind: abi.CauseEventTimer, Slot: 0, Time: 78}}
	var w CallWriter
	n, err := w.Prepare(callSig, call)
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]byte, n)
	w.Write(dst)
	var r CallReader
	got, err := r.Read(callSig, dst)
	if err != nil || fmt.Sprint(got.Causes) != fmt.Sprint(call.Causes) || got.Columns != nil || got.Slot(0) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestWritingACallAllocatesNothingInTheSteadyState(t *testing.T) {
	var w CallWriter
	call := callOfFive()
	dst := make([]byte, 1<<16)
	if n := testing.AllocsPerRun(100, func() {
		size, err := w.Prepare(callSig, call)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(dst[:size])
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestACallThatDoesNotFitItsSignatureIsRefused(t *testing.T) {
	for name, change := range map[string]func(c *Call){
		"no causes":        func(c *Call) { c.Columns = nil; c.Selection = nil },
		"no rows":          func(c *Call) { c.Selection = []int32{} },
		"rows and firings": func(c *Call) { c.Causes = []Cause{{Kind: abi.CauseEventTimer}} },
		"another input":    func(c *Call) { c.Input = 2 },
		"other columns":    func(c *Call) { c.Input = 0 },
		"too few slots":    func(c *Call) { c.RowSlots = c.RowSlots[:2] },
		"too few states":   func(c *Call) { c.States = c.States[:2] },
		"too few values":   func(c *Call) { c.States[0].Values = c.States[0].Values[:1] },
		"no keys":          func(c *Call) { c.Keys = nil },
	} {
		var w CallWriter
		call := callOfFive()
		change(call)
		if _, err := w.Prepare(callSig, call); !errors.Is(err, ErrCall) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestACallOverTheCapIsRefusedSoThatItCanBeCut(t *testing.T) {
	call := callOfFive()
	call.States[0].Values[0] = make([]byte, MaxCallBytes)
	var w CallWriter
	if _, err := w.Prepare(callSig, call); !errors.Is(err, ErrCallSize) || !errors.Is(err, ErrCall) {
		t.Errorf("have %v", err)
	}
}

package frame

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/weirstream/weir/abi"
	"github.com/weirstream/weir/abi/schema"
)

// hand builds an effects container section by section.
type hand struct {
	w      ContainerWriter
	bodies [][]byte
}

func newHand() *hand {
	h := &hand{}
	h.w.Reset(KindEffects)
	return h
}

func (h *hand) add(id uint16, index uint32, body []byte) *hand {
	h.w.Reserve(id, index, abi.SectionMustUnderstand, len(body))
	h.bodies = append(h.bodies, body)
	return h
}

func (h *hand) bytes() []byte {
	b := make([]byte, h.w.Size())
	h.w.Begin(b)
	for i, body := range h.bodies {
		copy(h.w.Body(i), body)
	}
	return b
}

func words(v ...uint32) []byte {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, x)
	}
	return b
}

func longs(v ...int64) []byte {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint64(b, uint64(x))
	}
	return b
}

// rowsOf builds a block of int columns and strings.
func rowsOf(s *schema.Schema, rows ...[]any) []byte {
	b := NewBuilder(s)
	for _, r := range rows {
		for j, v := range r {
			switch v := v.(type) {
			case nil:
				b.Column(j).AppendNull()
			case string:
				b.Column(j).AppendString(v)
			case int:
				b.Column(j).AppendInt(int64(v))
			}
		}
	}
	return b.AppendTo(nil)
}

var (
	outSchema = schema.MustParse("k:utf8,total:int64")
	testSig   = &Signature{
		Name: "f", Inputs: []*schema.Schema{schema.MustParse("k:utf8")}, Key: schema.MustParse("k:utf8"), Outputs: []*schema.Schema{outSchema},
		States: []StateSignature{{Name: "total", Framed: true, MaxBytes: 4}, {Name: "big"}},
		Timers: []TimerSignature{{Name: "e", Kind: abi.TimerEvent}, {Name: "p", Kind: abi.TimerProcessing}},
	}
	// Three rows: keys 0, 1, 0.
	testCall = &Call{Rows: 3, Slots: 2, RowSlots: []uint32{0, 1, 0}, MaxOutput: 1 << 20}
)

func result(consumed, status, code uint32) []byte { return words(consumed, status, code, 0) }

func TestEveryLieOfAGuestHasItsNamedError(t *testing.T) {
	done := func() *hand { return newHand().add(1, 0, result(3, 0, 0)) }
	out := rowsOf(outSchema, []any{"a", 1}, []any{"b", 2})
	write := func(rows ...[]any) []byte { return rowsOf(writeSchema, rows...) }
	timer := func(rows ...[]any) []byte { return rowsOf(timerSchema, rows...) }
	for name, c := range map[string]struct {
		b    []byte
		want error
	}{
		"no result":                      {newHand().bytes(), ErrResult},
		"a short result":                 {newHand().add(1, 0, words(3, 0, 0)).bytes(), ErrResult},
		"consumed above causes":          {newHand().add(1, 0, result(4, 0, 0)).bytes(), ErrResult},
		"done too early":                 {newHand().add(1, 0, result(2, 0, 0)).bytes(), ErrResult},
		"more without progress":          {newHand().add(1, 0, result(0, 1, 0)).bytes(), ErrResult},
		"more with nothing left":         {newHand().add(1, 0, result(3, 1, 0)).bytes(), ErrResult},
		"failed after the last":          {newHand().add(1, 0, result(3, 2, 0)).bytes(), ErrResult},
		"an unknown code":                {newHand().add(1, 0, result(1, 2, 9)).bytes(), ErrResult},
		"wants":                          {newHand().add(1, 0, result(1, 3, 0)).bytes(), ErrResult},
		"text that is no text":           {done().add(2, 0, []byte{0xff}).bytes(), ErrUTF8},
		"an output without causes":       {done().add(3, 0, out).bytes(), ErrSection},
		"too few causes":                 {done().add(3, 0, out).add(4, 0, words(0)).bytes(), ErrSection},
		"causes without an output":       {done().add(4, 0, words(0)).bytes(), ErrSection},
		"causes that decrease":           {done().add(3, 0, out).add(4, 0, words(1, 0)).bytes(), ErrCause},
		"a cause not consumed":           {newHand().add(1, 0, result(1, 2, 0)).add(3, 0, out).add(4, 0, words(0, 1)).bytes(), ErrCause},
		"an output that is not there":    {done().add(3, 1, out).add(4, 1, words(0, 0)).bytes(), ErrOutput},
		"a damaged block":                {done().add(3, 0, out[:len(out)-8]).add(4, 0, words(0, 0)).bytes(), ErrBlock},
		"utf8 that is none":              {done().add(3, 0, rowsOf(outSchema, []any{"\xff", 1})).add(4, 0, words(0)).bytes(), ErrUTF8},
		"too few times":                  {done().add(3, 0, out).add(4, 0, words(0, 0)).add(5, 0, longs(1)).bytes(), ErrSection},
		"kinds without the capability":   {done().add(3, 0, out).add(4, 0, words(0, 0)).add(6, 0, []byte{0, 1}).bytes(), ErrSection},
		"a write to another key":         {done().add(7, 0, write([]any{0, 1, "x"})).bytes(), ErrSlot},
		"a write to no slot":             {done().add(7, 0, write([]any{0, 2, "x"})).bytes(), ErrSlot},
		"a write to a negative slot":     {done().add(7, 0, write([]any{0, -1, "x"})).bytes(), ErrSlot},
		"a write under a negative cause": {done().add(7, 0, write([]any{-1, 0, "x"})).bytes(), ErrCause},
		"writes whose causes decrease":   {done().add(7, 0, write([]any{1, 1, "x"}, []any{0, 0, "x"})).bytes(), ErrCause},
		"a write to a hosted state":      {done().add(7, 1, write([]any{0, 0, "x"})).bytes(), ErrStateIndex},
		"a write to no state":            {done().add(7, 2, write([]any{0, 0, "x"})).bytes(), ErrStateIndex},
		"a value over max_bytes":         {done().add(7, 0, write([]any{0, 0, "12345"})).bytes(), ErrStateSize},
		"an unknown timer":               {done().add(8, 0, timer([]any{0, 0, 2, 0, 2, 5})).bytes(), ErrTimer},
		"a negative timer":               {done().add(8, 0, timer([]any{0, 0, 2, 0, -1, 5})).bytes(), ErrTimer},
		"a timer of the other kind":      {done().add(8, 0, timer([]any{0, 0, 3, 0, 0, 5})).bytes(), ErrTimer},
		"an unknown operation":           {done().add(8, 0, timer([]any{0, 0, 2, 2, 0, 5})).bytes(), ErrTimer},
		"a timer without a time":         {done().add(8, 0, timer([]any{0, 0, 2, 0, 0, abi.NoTime})).bytes(), ErrTimer},
		"a timer of another key":         {done().add(8, 0, timer([]any{1, 0, 2, 0, 0, 5})).bytes(), ErrSlot},
		"a reserved section":             {done().add(9, 0, nil).bytes(), ErrUnknownSection},
		"too many bytes":                 {done().add(2, 0, make([]byte, 2<<20)).bytes(), ErrSize},
		"no container":                   {[]byte("hello, world, hello, world"), ErrContainer},
	} {
		var e Effects
		err := e.Decode(testSig, testCall, c.b)
		var typed *EffectsError
		if !errors.Is(err, c.want) || !errors.As(err, &typed) || typed.Function != "f" {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestAFunctionWithoutKeyHasNoSlotToWriteTo(t *testing.T) {
	sig := *testSig
	sig.Key = nil
	call := &Call{Rows: 1, MaxOutput: 1 << 20}
	for _, slot := range []int{0, -1, 1} {
		b := newHand().add(1, 0, result(1, 0, 0)).add(8, 0, rowsOf(timerSchema, []any{0, slot, 2, 0, 0, 5})).bytes()
		var e Effects
		if err := e.Decode(&sig, call, b); !errors.Is(err, ErrSlot) {
			t.Errorf("slot %d: %v", slot, err)
		}
	}
}

func TestAnUnknownSectionIsSkippedOrNamesTheSideToUpgrade(t *testing.T) {
	b := newHand().add(1, 0, result(3, 0, 0)).add(37, 0, []byte("new")).bytes()
	var e Effects
	err := e.Decode(testSig, testCall, b)
	if err == nil || !strings.HasSuffix(err.Error(), "unknown section 37 in effects: upgrade the host") {
		t.Errorf("have %v", err)
	}
	b[abi.ContainerHeaderSize+abi.ContainerEntrySize+2] = 0 // may be skipped
	if err := e.Decode(testSig, testCall, b); err != nil {
		t.Error(err)
	}
	var w ContainerWriter
	w.Reset(KindCall)
	w.Reserve(37, 0, abi.SectionMustUnderstand, 0)
	b = make([]byte, w.Size())
	w.Begin(b)
	if _, err := ReadContainer(b, KindCall); err == nil || err.Error() != "unknown section 37 in call: upgrade the guest" {
		t.Errorf("have %v", err)
	}
}

func TestDecodingEffectsAllocatesNothingInTheSteadyState(t *testing.T) {
	b := newHand().add(1, 0, result(3, 0, 0)).add(3, 0, rowsOf(outSchema, []any{"a", 1}, []any{"b", 2})).add(4, 0, words(0, 2)).add(5, 0, longs(5, abi.NoTime)).
		add(7, 0, rowsOf(writeSchema, []any{0, 0, nil}, []any{1, 1, "1234"})).
		add(8, 0, rowsOf(timerSchema, []any{0, 0, 2, 0, 0, 5}, []any{2, 0, 3, 1, 1, 6})).bytes()
	var e Effects
	if n := testing.AllocsPerRun(100, func() {
		if err := e.Decode(testSig, testCall, b); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if !e.Writes[0].Value.Null(0) || e.Timers.Rows != 2 || e.Outputs[0].Times[0] != 5 {
		t.Errorf("%+v", e)
	}
}

func TestDamagedContainersAreRefusedOrHarmless(t *testing.T) {
	good := newHand().add(1, 0, result(3, 0, 0)).add(3, 0, rowsOf(outSchema, []any{"a", 1})).add(4, 0, words(0)).bytes()
	r := rand.New(rand.NewPCG(3, 3))
	var e Effects
	for i := range 20000 {
		b := bytes.Clone(good)
		for range 1 + i%3 {
			b[r.IntN(len(b))] = byte(r.Uint32())
		}
		if e.Decode(testSig, testCall, b) == nil {
			for j := range e.Outputs[0].Rows {
				_ = e.Outputs[0].Columns[0].BytesAt(j)
			}
		}
	}
	for what, change := range map[string]func(b []byte){
		"twice":     func(b []byte) { copy(b[32:34], b[16:18]); copy(b[36:40], b[20:24]) },
		"overlap":   func(b []byte) { copy(b[32+8:32+12], b[16+8:16+12]) },
		"misplaced": func(b []byte) { b[32+8] |= 4 },
		"in table":  func(b []byte) { copy(b[32+8:32+12], words(16)) },
		"too long":  func(b []byte) { copy(b[32+12:32+16], words(1<<31)) },
		"too many":  func(b []byte) { b[10], b[11] = 0x01, 0x01 },
		"kind":      func(b []byte) { b[8] = 1 },
		"reserved":  func(b []byte) { b[12] = 1 },
		"size":      func(b []byte) { b[4] += 8 },
	} {
		b := bytes.Clone(good)
		change(b)
		if _, err := ReadContainer(b, KindEffects); !errors.Is(err, ErrContainer) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func FuzzEffects(f *testing.F) {
	var v callVectors
	vectors(f, "calls", &v)
	sig := v.signature()
	for _, g := range v.Calls {
		f.Add(unhex(f, g.Effects))
	}
	call := &Call{Rows: 3, Slots: 2, RowSlots: []uint32{0, 1, 0}, MaxOutput: 1 << 20}
	f.Fuzz(func(t *testing.T, b []byte) {
		var e Effects
		if e.Decode(sig, call, b) != nil {
			return
		}
		for i := range e.Outputs {
			_ = Append(nil, sig.Outputs[i], e.Outputs[i].Columns, nil, e.Outputs[i].Rows)
		}
	})
}

func FuzzCall(f *testing.F) {
	var v callVectors
	vectors(f, "calls", &v)
	sig := v.signature()
	for _, g := range v.Calls {
		f.Add(unhex(f, g.Call))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r CallReader
		call, err := r.Read(sig, b)
		if err != nil {
			return
		}
		var w CallWriter
		if n, err := w.Prepare(sig, call); err == nil && n < 1<<20 {
			w.Write(make([]byte, n))
		}
	})
}

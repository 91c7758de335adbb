// Package c_test holds the C header to the contract: it compiles test/conformance.c for this machine with the sanitizers on
// and talks to it in frames. It must not know the host's codecs: frames here are written by hand.
package c_test

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
)

// garbledFrames is how many damaged messages the header has to survive in one run.
const garbledFrames = 2000

var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "weir-c")
	if err != nil {
		return "", err
	}
	cc := os.Getenv("CC")
	for _, name := range []string{"gcc", "clang", "clang-19", "cc"} {
		if path, err := exec.LookPath(name); cc == "" && err == nil {
			cc = path
		}
	}
	if cc == "" {
		return "", fmt.Errorf("compile test/conformance.c: no C compiler: install clang or gcc, or set CC")
	}
	program := filepath.Join(dir, "conformance")
	args := []string{"-std=c11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-format-security", "-o", program, "test/conformance.c"}
	sanitized := append([]string{"-fsanitize=address,undefined", "-fno-sanitize-recover=all"}, args...)
	if exec.Command(cc, sanitized...).Run() == nil {
		return program, nil
	}
	if out, err := exec.Command(cc, args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("compile test/conformance.c: %w\n%s", err, out)
	}
	return program, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if program, err := build(); err == nil {
		os.RemoveAll(filepath.Dir(program))
	}
	os.Exit(code)
}

// guest is the header in a process of its own.
type guest struct {
	t   *testing.T
	in  io.WriteCloser
	out *bufio.Reader
	cmd *exec.Cmd
	err *strings.Builder
}

func start(t *testing.T) *guest {
	t.Helper()
	program, err := build()
	if err != nil {
		t.Fatal(err)
	}
	g := &guest{t: t, cmd: exec.Command(program), err: &strings.Builder{}}
	g.in, err = g.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := g.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	g.out = bufio.NewReaderSize(out, 1<<20)
	g.cmd.Stderr = g.err
	g.cmd.Env = append(os.Environ(), "ASAN_OPTIONS=detect_leaks=0")
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.in.Close()
		if err := g.cmd.Wait(); err != nil {
			t.Errorf("the guest ended with %v\n%s", err, g.err)
		}
	})
	return g
}

func (g *guest) ask(format string, args ...any) string {
	g.t.Helper()
	fmt.Fprintf(g.in, format+"\n", args...)
	line, err := g.out.ReadString('\n')
	if err != nil {
		g.t.Fatalf("no answer to %.200s: %v\n%s", fmt.Sprintf(format, args...), err, g.err)
	}
	return strings.TrimSuffix(line, "\n")
}

func (g *guest) send(verb string, message []byte) []byte {
	g.t.Helper()
	b, err := hex.DecodeString(g.ask("%s %x", verb, message))
	if err != nil {
		g.t.Fatal(err)
	}
	return b
}

func (g *guest) open(function, config string) uint32 {
	g.t.Helper()
	opened := sectionsOf(g.send("open", container(3, section{1, 0, []byte(function)}, section{2, 0, []byte(config)}, section{3, 0, nil})))
	if text, refused := opened[place{2, 0}]; refused {
		g.t.Fatalf("open %s: %s", function, text)
	}
	return le.Uint32(opened[place{1, 0}])
}

type effects struct {
	consumed, status, code uint32
	text                   string
	sections               map[place][]byte
}

func (g *guest) call(handle uint32, frame []byte) effects {
	g.t.Helper()
	s := sectionsOf(g.send(fmt.Sprintf("call %d", handle), frame))
	result := s[place{1, 0}]
	if len(result) != 16 {
		g.t.Fatalf("effects without a result: %v", s)
	}
	return effects{le.Uint32(result), le.Uint32(result[4:]), le.Uint32(result[8:]), string(s[place{2, 0}]), s}
}

// event is a row of the function act.
type event struct {
	key, op string
	n       any // nil or an int
}

func header(causes, slots int, maxOutput uint32) []byte {
	h := make([]byte, 64)
	le.PutUint32(h[24:], uint32(causes))
	le.PutUint32(h[28:], uint32(slots))
	le.PutUint32(h[44:], maxOutput)
	return h
}

// actFrame is a call of act with the given stored accounts by key.
func actFrame(maxOutput uint32, accounts map[string]string, rows ...event) []byte {
	var keys, ops, distinct, stored []string
	var n []int64
	var known, present, none []bool
	var slots []uint32
	slot := map[string]uint32{}
	for _, r := range rows {
		if _, ok := slot[r.key]; !ok {
			slot[r.key] = uint32(len(distinct))
			distinct = append(distinct, r.key)
			value, ok := accounts[r.key]
			stored, present, none = append(stored, value), append(present, ok), append(none, false)
		}
		v, ok := r.n.(int)
		keys, ops, n, known, slots = append(keys, r.key), append(ops, r.op), append(n, int64(v)), append(known, ok), append(slots, slot[r.key])
	}
	accountColumn := texts(stored...)
	accountColumn.validity = bits(present...)
	return container(1,
		section{1, 0, header(len(rows), len(distinct), maxOutput)},
		section{2, 0, block(len(rows), texts(keys...), texts(ops...), column{validity: bits(known...), values: i64s(n...)})},
		section{4, 0, u32s(slots...)},
		section{6, 0, block(len(distinct), texts(distinct...))},
		section{7, 0, block(len(distinct), accountColumn)},
		section{7, 1, block(len(distinct), column{validity: bits(none...), values: u32s(make([]uint32, len(distinct)+1)...)})})
}

func want(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestWritesOfOneKeyAreFoldedUnderTheLastCause(t *testing.T) {
	g := start(t)
	e := g.call(g.open("act", "{}"), actFrame(1<<20, map[string]string{"b": "\x08\x04\x10\x14\x1a\x01x"},
		event{"a", "add", 5}, event{"b", "add", 1}, event{"a", "add", nil}))
	want(t, "result", []uint32{e.consumed, e.status, e.code}, []uint32{3, 0, 0})
	out := e.sections[place{3, 0}]
	want(t, "keys", cells(out, 0, 0), []any{"a", "b", "a"})
	want(t, "counts", cells(out, 1, 8), []any{int64(1), int64(3), int64(2)})
	want(t, "sums", cells(out, 2, 8), []any{int64(5), int64(11), nil})
	want(t, "causes", e.sections[place{4, 0}], u32s(0, 1, 2))
	writes := e.sections[place{7, 0}]
	want(t, "causes of writes", cells(writes, 0, 4), []any{int64(1), int64(2)})
	want(t, "slots of writes", cells(writes, 1, 4), []any{int64(1), int64(0)})
	want(t, "values", cells(writes, 2, 0), []any{"\x08\x06\x10\x16\x1a\x03add", "\x08\x04\x10\x0a\x1a\x03add"})
	timers := e.sections[place{8, 0}]
	want(t, "timer kinds", cells(timers, 2, 1), []any{int64(3), int64(3), int64(3)})
	want(t, "timer times", cells(timers, 5, 8), []any{int64(5), int64(1), int64(0)})
}

func TestAFailedRowLosesItsOwnEffectsOnly(t *testing.T) {
	g := start(t)
	e := g.call(g.open("act", "{}"), actFrame(1<<20, nil, event{"a", "add", 5}, event{"a", "fail", 7}, event{"a", "add", 1}))
	want(t, "result", []uint32{e.consumed, e.status, e.code}, []uint32{1, 2, 0})
	want(t, "text", e.text, "asked to fail")
	want(t, "sums", cells(e.sections[place{3, 0}], 2, 8), []any{int64(5)})
	want(t, "values", cells(e.sections[place{7, 0}], 2, 0), []any{"\x08\x02\x10\x0a\x1a\x03add"})
	want(t, "timers", cells(e.sections[place{8, 0}], 0, 4), []any{int64(0)})
}

func TestAClearAndAnUnreadableValue(t *testing.T) {
	g := start(t)
	handle := g.open("act", "{}")
	e := g.call(handle, actFrame(1<<20, map[string]string{"a": "\x08\x04", "b": "\x08\x04"}, event{"a", "add", 1}, event{"a", "clear", nil}, event{"c", "clear", nil}))
	want(t, "values after a clear", cells(e.sections[place{7, 0}], 2, 0), []any{nil, nil})
	want(t, "its cause", cells(e.sections[place{7, 0}], 0, 4), []any{int64(1), int64(2)})
	e = g.call(handle, actFrame(1<<20, map[string]string{"a": "\x09\x04"}, event{"b", "add", 1}, event{"a", "add", 1}))
	want(t, "result of a value of another shape", []uint32{e.consumed, e.status, e.code}, []uint32{1, 2, 2})
	e = g.call(handle, actFrame(1<<20, map[string]string{"a": "\x08\x04\xa2\x06\x03new"}, event{"a", "add", 1}))
	want(t, "a value with an unknown field", e.status, uint32(0))
	e = g.call(handle, actFrame(1<<20, nil, event{"a", "note", 100}, event{"a", "note", 65537}))
	want(t, "result of a value over max_bytes", []uint32{e.consumed, e.status, e.code}, []uint32{1, 2, 1})
	want(t, "length of the value before", len(cells(e.sections[place{7, 1}], 2, 0)[0].(string)), 100)
}

func TestMoreComesBackBeforeTheEffectsPassTheCap(t *testing.T) {
	g := start(t)
	handle := g.open("act", "{}")
	const limit = 4096
	var rows []event
	for i := range 200 {
		rows = append(rows, event{fmt.Sprint("key", i%50), "add", i})
	}
	seen := 0
	for len(rows) > 0 {
		frame := actFrame(limit, nil, rows...)
		b := g.send(fmt.Sprintf("call %d", handle), frame)
		if len(b) > limit {
			t.Fatalf("effects of %d bytes pass the cap of %d", len(b), limit)
		}
		result := sectionsOf(b)[place{1, 0}]
		consumed, status := int(le.Uint32(result)), le.Uint32(result[4:])
		if consumed == 0 || (status != 1) != (consumed == len(rows)) {
			t.Fatalf("consumed %d of %d with status %d", consumed, len(rows), status)
		}
		rows = rows[consumed:]
		seen++
	}
	if seen < 2 {
		t.Fatal("everything fitted: the test says nothing")
	}
	e := g.call(handle, actFrame(limit, nil, event{"a", "many", 1000}))
	want(t, "one row that emits too much", []uint32{e.consumed, e.status}, []uint32{0, 2})
	e = g.call(handle, actFrame(limit, nil, event{"a", "add", 1}, event{"a", "many", 1000}))
	want(t, "the same behind a good row", []uint32{e.consumed, e.status}, []uint32{1, 1})
}

func TestFiringsReachTheirHandlerWithKeyAndState(t *testing.T) {
	g := start(t)
	cause := make([]byte, 48)
	for i, at := range []int64{70, 90} {
		cause[24*i] = 2
		le.PutUint32(cause[24*i+4:], uint32(i))
		copy(cause[24*i+16:], i64s(at))
	}
	accounts := texts("\x08\x02", "")
	accounts.validity = bits(true, false)
	frame := container(1, section{1, 0, header(2, 2, 1<<20)}, section{3, 0, cause},
		section{6, 0, block(2, texts("x", "y"))}, section{7, 0, block(2, accounts)},
		section{7, 1, block(2, column{validity: bits(false, false), values: u32s(0, 0, 0)})})
	e := g.call(g.open("act", "{}"), frame)
	side := e.sections[place{3, 1}]
	want(t, "keys", cells(side, 0, 0), []any{"x", "y"})
	want(t, "times", cells(side, 1, 8), []any{int64(70), int64(90)})
	want(t, "known", b0(side, 2), byte(1))
	want(t, "causes", e.sections[place{4, 1}], u32s(0, 1))
}

// b0 is the first byte of a column's values.
func b0(block []byte, col int) byte { return block[le.Uint32(block[16+24*col+8:])] }

func TestEveryTypeGoesThroughUnchanged(t *testing.T) {
	g := start(t)
	valid := bits(true, false, true)
	wide := func(width int) column {
		c := column{validity: valid, values: make([]byte, 3*width)}
		for i := range c.values {
			if i/width != 1 {
				c.values[i] = byte(i*37 + 1)
			}
		}
		return c
	}
	text := texts("grüße", "", "x")
	text.validity = valid
	rows := block(3, column{valid, bits(true, false, false), nil}, wide(1), wide(2), wide(4), wide(8), wide(4), wide(8), wide(16), text, text, wide(4), wide(8))
	e := g.call(g.open("echo", "{}"), container(1, section{1, 0, header(3, 0, 1<<20)}, section{2, 0, rows}))
	want(t, "status", e.status, uint32(0))
	want(t, "the block", e.sections[place{3, 0}], rows)
}

func TestBulkRowsAndConfig(t *testing.T) {
	g := start(t)
	var in []int64
	for i := range 1000 {
		in = append(in, int64(i))
	}
	frame := container(1, section{1, 0, header(len(in), 0, 2048)}, section{2, 0, block(len(in), column{values: i64s(in...)})})
	e := g.call(g.open("twice", `{"m": [1, "}"], "n": 3}`), frame)
	want(t, "status with a small cap", e.status, uint32(1))
	out := cells(e.sections[place{3, 0}], 0, 8)
	want(t, "rows", len(out), int(e.consumed))
	want(t, "the last", out[len(out)-1], int64(2*(e.consumed-1)))
	opened := sectionsOf(g.send("open", container(3, section{1, 0, []byte("twice")}, section{2, 0, []byte(`{"n": 0}`)})))
	want(t, "a bad config", string(opened[place{2, 0}]), "config: n must be a number above 0")
	opened = sectionsOf(g.send("open", container(3, section{1, 0, []byte("nothing")})))
	want(t, "an unknown function", string(opened[place{2, 0}]), "this module has no function nothing")
}

func TestKeysAndRowsHaveTheirCanonicalBytes(t *testing.T) {
	g := start(t)
	for ask, answer := range map[string]string{
		"i64 0":                    "028000000000000000",
		"i64 -1":                   "027fffffffffffffff",
		"f64 8000000000000000":     "028000000000000000", // -0 is 0
		"f64 fff0000000000001":     "02fff8000000000000", // any NaN
		"f64 bff0000000000000":     "02400fffffffffffff", // -1
		"text 610062":              "02610062",           // the last column: as it is
		"decimal 2 0 0":            "0201",
		"decimal 2 0 12300":        "0202830d1f00", // 123: 0.123 * 10^3
		"decimal 0 -1 " + minus123: "02007cf2e0ff", // the same below zero, inverted
		"decimal 3 0 5":            "02027e3300",   // 0.005: 0.5 * 10^-2
		"row 0802":                 "0802100018002000280035000000004303" + strings.Repeat("00", 16) + "e21200",
		"row 08021a00":             "error",                                                                                                // wire 2 in an int16
		"row 1080040802":           "error",                                                                                                // ids descend
		"row 108004":               "error",                                                                                                // 256 is no int8
		"row 3d0000803f":           "080010001800200028003500000000" + "39000000000000f03f" + "4303" + strings.Repeat("00", 16) + "e21200", // float32 read as float64
	} {
		want(t, ask, g.ask("%s", ask), answer)
	}
}

// minus123 is -123 in the low 64 bits of two's complement.
const minus123 = "18446744073709551493"

func TestDescribeIsDeterministicAndNamesEverything(t *testing.T) {
	g := start(t)
	first, second := g.send("describe", container(5)), g.send("describe", container(5, section{1, 0, []byte("{}")}))
	want(t, "twice", string(first), string(second))
	for _, part := range []string{`"name":"act"`, `"value":"1:count:int64,2:sum:int64,3:last:utf8?"`, `"kind":"processing"`, `"codec":"bytes","value":""`, `"key":["key"]`} {
		if !strings.Contains(string(first), part) {
			t.Errorf("the manifest lacks %s: %s", part, first)
		}
	}
}

func TestGarbageIsAnsweredNeverACrash(t *testing.T) {
	g := start(t)
	act, echo := g.open("act", "{}"), g.open("echo", "{}")
	good := [][]byte{
		actFrame(1<<20, map[string]string{"b": "\x08\x04\x10\x14\x1a\x01x"}, event{"a", "add", 5}, event{"b", "late", 1}, event{"a", "set", nil}, event{"b", "clear", 3}),
		actFrame(4096, nil, event{"a", "note", 900}, event{"b", "many", 20}),
	}
	random := rand.New(rand.NewPCG(2, 19))
	for i := range garbledFrames {
		frame := append([]byte(nil), good[i%len(good)]...)
		for range 1 + random.IntN(4) {
			switch at := random.IntN(len(frame)); random.IntN(3) {
			case 0:
				frame[at] = byte(random.Uint32())
			case 1:
				frame[at] ^= 1 << random.IntN(8)
			default:
				le.PutUint32(frame[at&^3:][:4:4], []uint32{0, 1, 7, 8, 0x7fffffff, 0x80000000, 0xffffffff, uint32(len(frame))}[random.IntN(8)])
			}
		}
		if i%5 == 0 {
			frame = frame[:random.IntN(len(frame))]
		}
		handle := act
		if i%7 == 0 {
			handle = echo
		}
		g.call(handle, frame)
		if i%11 == 0 {
			g.send("open", frame)
			g.send("describe", frame)
			g.ask("block a:utf8?,b:list<struct<c:bool,d:int64?>>,e:map<utf8,int32?> %x", frame)
			g.ask("row %x", frame[:min(len(frame), random.IntN(40))])
		}
	}
	want(t, "a good call afterwards", g.call(act, good[0]).status, uint32(0))
}

package wasmhost

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/abi"
)

// Commands of testdata/hostile.c.
const (
	cmdBehave = iota
	cmdEndless
	cmdEndlessRegisters
	cmdFat
	cmdDeep
	cmdTwice
	cmdLevels
	cmdBomb
	cmdFill
	cmdCopy
	cmdTables
	cmdAnswerBeyond
	cmdAnswerHuge
	cmdAnswerLarge
	cmdBadAlloc
	cmdLogBeyond
	cmdStateBeyond
	cmdStatePut
	cmdSleep
	cmdExit
	cmdTrap
	cmdLoadBeyond
	cmdLogs
	cmdDivides
	cmdFaults
	cmdStrides
	cmdLongKey
	cmdLongLog
	cmdMetric
	cmdBadMetric
	cmdState
	cmdNested
	cmdWide
)

// deadlineTries is how often a runaway is timed; the median counts, and only time
// that the guest's thread has used, because the machine has other things to do.
const (
	deadlineTries = 5
	deadlineGrace = 5 * time.Millisecond
	callTime      = 20 * time.Millisecond
)

func TestARunawayStopsWithinFiveMillisecondsOfItsDeadline(t *testing.T) {
	h := newHost(t, Options{})
	for _, c := range []struct {
		name     string
		cmd, arg uint32
	}{
		{"a loop over memory", cmdEndless, 0},
		{"a loop over registers", cmdEndlessRegisters, 1},
		{"a loop with a body of thousands of instructions", cmdFat, 0},
		{"a loop of divisions", cmdDivides, 99},
		{"recursion that branches", cmdTwice, 0},
		{"calls that double at each of forty levels without a loop", cmdLevels, 0},
		{"filling 48 MiB at once", cmdFill, 48 << 20},
		{"filling 2 KiB at once", cmdFill, 2 << 10},
		{"copying 48 MiB at once", cmdCopy, 48 << 20},
		{"growing and filling a table", cmdTables, 0},
		{"logging without end", cmdLogs, 0},
		{"touching a fresh page with each turn", cmdFaults, 0},
		{"missing the cache with each turn", cmdStrides, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			var late []time.Duration
			for range deadlineTries {
				in, handle := newInstance(t, h, hostileWasm, InstanceOptions{Imports: &recorder{}})
				used, deadline := threadTime(), time.Now().Add(callTime)
				_, err := call(t.Context(), in, handle, command(c.cmd, c.arg), CallOptions{Deadline: deadline})
				late = append(late, min(time.Since(deadline), threadTime()-used-callTime))
				if !errors.Is(err, ErrDeadline) {
					t.Fatalf("got %v, want the time limit", err)
				}
				wantDead(t, in, handle)
			}
			if m := median(late); m > deadlineGrace {
				t.Errorf("stopped %v after its deadline (median of %v)", m, late)
			}
		})
	}
}

// The engine doubles a guest's stack in the middle of guest code. Deadlines from
// soon to late fall before, between and behind the doublings.
func TestRecursionWithoutEndStopsWithinFiveMillisecondsOfAnyDeadline(t *testing.T) {
	h := newHost(t, Options{})
	for _, c := range []struct {
		name string
		cmd  uint32
	}{
		{"of a small function", cmdDeep},
		{"of a function with many live values", cmdWide},
	} {
		t.Run(c.name, func(t *testing.T) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			for limit := 500 * time.Microsecond; limit <= callTime; limit = limit * 3 / 2 {
				var late []time.Duration
				for range deadlineTries {
					in, handle := newInstance(t, h, hostileWasm, InstanceOptions{})
					used, deadline := threadTime(), time.Now().Add(limit)
					_, err := call(t.Context(), in, handle, command(c.cmd, 0), CallOptions{Deadline: deadline})
					late = append(late, min(time.Since(deadline), threadTime()-used-limit))
					if !errors.Is(err, ErrDeadline) && !errors.Is(err, ErrStack) {
						t.Fatalf("got %v, want the time limit or the stack limit", err)
					}
					wantDead(t, in, handle)
				}
				if m := median(late); m > deadlineGrace {
					t.Errorf("stopped %v after a deadline of %v (median of %v)", m, limit, late)
				}
			}
		})
	}
}

func TestDeepNestingThatEndsLeavesTheInstanceAsItWas(t *testing.T) {
	h := newHost(t, Options{})
	in, handle := newInstance(t, h, hostileWasm, InstanceOptions{})
	const nested = 20_000 // more than a megabyte of stack
	if _, err := call(t.Context(), in, handle, command(cmdNested, nested), CallOptions{}); err != nil {
		t.Fatal(err)
	}
	// The stack stays as large as it has grown. What counts is how deep a call is.
	if _, err := call(t.Context(), in, handle, command(cmdEndless, 0), CallOptions{Deadline: time.Now().Add(callTime)}); !errors.Is(err, ErrDeadline) {
		t.Errorf("a shallow call afterwards: %v, want %v", err, ErrDeadline)
	}
}

func TestTheDepthOfAGuestsStackIsSeen(t *testing.T) {
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		t.Skip("wazero has no compiler here; its interpreter has its own limit")
	}
	h := newHost(t, Options{})
	in, handle := newInstance(t, h, hostileWasm, InstanceOptions{})
	_, err := call(t.Context(), in, handle, command(cmdDeep, 0), CallOptions{Deadline: time.Now().Add(time.Minute)})
	var trap *Trap
	if !errors.As(err, &trap) || !errors.Is(err, ErrStack) || !strings.Contains(trap.Detail, "the limit is 4096 KiB") {
		t.Fatalf("got %v, want %v by the meter", err, ErrStack)
	}
	if len(trap.Stack) < 5 || !strings.HasPrefix(trap.Stack[0], "deep(") {
		t.Errorf("the report's stack: %q", trap.Stack)
	}
}

func wantDead(t *testing.T, in *Instance, handle uint32) {
	t.Helper()
	if _, err := call(t.Context(), in, handle, command(cmdBehave, 0), CallOptions{}); !errors.Is(err, ErrInstanceDead) {
		t.Errorf("a call after the end: %v, want %v", err, ErrInstanceDead)
	}
}

func TestEachMisdeedGetsItsNamedErrorAndOtherInstancesGoOn(t *testing.T) {
	h := newHost(t, Options{})
	neighbour, neighbourHandle := newInstance(t, h, hostileWasm, InstanceOptions{})
	for _, c := range []struct {
		name     string
		cmd, arg uint32
		want     error
		text     string
		options  CallOptions
	}{
		{"recursion without end", cmdDeep, 0, ErrStack, "end the recursion sooner", CallOptions{}},
		{"a memory bomb", cmdBomb, 0, ErrMemory, "the limit is 64 MiB", CallOptions{}},
		{"an answer beyond the memory", cmdAnswerBeyond, 0, ErrBadPointer, "answer of 4096 bytes", CallOptions{}},
		{"an answer of four gigabytes", cmdAnswerHuge, 0, ErrOutputTooLarge, "the limit is 8388608", CallOptions{}},
		{"an answer above the call's own limit", cmdAnswerLarge, 1001, ErrOutputTooLarge, "1001 bytes, the limit is 1000", CallOptions{MaxOutputBytes: 1000}},
		{"a log line beyond the memory", cmdLogBeyond, 0, ErrBadPointer, "", CallOptions{}},
		{"a state buffer beyond the memory", cmdStateBeyond, 0, ErrBadPointer, "", CallOptions{}},
		{"state that is not granted", cmdStatePut, 0, ErrImport, "hosted state is not granted", CallOptions{}},
		{"a guest that waits", cmdSleep, 0, ErrWait, "use a timer", CallOptions{}},
		{"a guest that exits", cmdExit, 0, ErrExit, "code 3", CallOptions{}},
		{"an unreachable instruction", cmdTrap, 0, ErrTrap, "unreachable", CallOptions{}},
		{"a load beyond the memory", cmdLoadBeyond, 0, ErrTrap, "out of bounds memory access", CallOptions{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			in, handle := newInstance(t, h, hostileWasm, InstanceOptions{})
			_, err := call(t.Context(), in, handle, command(c.cmd, c.arg), c.options)
			var trap *Trap
			if !errors.Is(err, c.want) || !errors.As(err, &trap) || !strings.Contains(err.Error(), c.text) {
				t.Fatalf("got %v, want %v with %q", err, c.want, c.text)
			}
			if trap.Progress != 7 {
				t.Errorf("the report says cause %d, the guest was at 7", trap.Progress)
			}
			wantDead(t, in, handle)
			out, err := call(t.Context(), neighbour, neighbourHandle, command(cmdBehave, 42), CallOptions{})
			if err != nil || string(out) != string(command(cmdBehave, 42)) {
				t.Errorf("the neighbour answers %v, %v", out, err)
			}
		})
	}
}

func TestAWrongAddressFromAllocIsRefused(t *testing.T) {
	h := newHost(t, Options{})
	for mode, want := range map[uint32]error{1: ErrBadPointer, 2: ErrBadPointer, 3: ErrDeadline} {
		in, handle := newInstance(t, h, hostileWasm, InstanceOptions{})
		if _, err := call(t.Context(), in, handle, command(cmdBadAlloc, mode), CallOptions{}); err != nil {
			t.Fatal(err)
		}
		_, err := call(t.Context(), in, handle, command(cmdBehave, 0), CallOptions{Deadline: time.Now().Add(callTime)})
		if !errors.Is(err, want) {
			t.Errorf("mode %d: got %v, want %v", mode, err, want)
		}
	}
}

func TestAWrongAnswerToOpenIsRefused(t *testing.T) {
	h := newHost(t, Options{})
	for mode, want := range map[uint32]error{1: ErrBadPointer, 2: ErrBadAnswer, 3: ErrOpen} {
		in, _ := newInstance(t, h, hostileWasm, InstanceOptions{})
		_, err := in.Open(t.Context(), command(mode, 0), CallOptions{})
		if !errors.Is(err, want) {
			t.Errorf("mode %d: got %v, want %v", mode, err, want)
		}
		if in.Dead() != (want != ErrOpen) {
			t.Errorf("mode %d: dead is %v", mode, in.Dead())
		}
	}
}

func TestATrapsReportShowsStackLogsAndCause(t *testing.T) {
	h := newHost(t, Options{})
	logs := &recorder{}
	in, handle := newInstance(t, h, hostileWasm, InstanceOptions{Imports: logs})
	_, err := call(t.Context(), in, handle, command(cmdTrap, 0), CallOptions{})
	var trap *Trap
	if !errors.As(err, &trap) {
		t.Fatal(err)
	}
	report := trap.Report()
	for _, want := range []string{"weir_call", "unreachable", "at cause 7", "log about to fail"} {
		if !strings.Contains(report, want) {
			t.Errorf("the report lacks %q:\n%s", want, report)
		}
	}
	if len(logs.lines) != 1 || logs.lines[0] != "about to fail" {
		t.Errorf("log lines: %q", logs.lines)
	}

	in, handle = newInstance(t, h, hostileWasm, InstanceOptions{})
	_, err = call(t.Context(), in, handle, command(cmdTwice, 0), CallOptions{Deadline: time.Now().Add(callTime)})
	if !errors.As(err, &trap) || len(trap.Stack) < 5 || !strings.HasPrefix(trap.Stack[0], "twice(") {
		t.Errorf("a runaway's stack: %q", trap.Stack)
	}
}

func TestACanceledContextEndsACall(t *testing.T) {
	h := newHost(t, Options{})
	in, handle := newInstance(t, h, hostileWasm, InstanceOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	timer := time.AfterFunc(callTime, cancel)
	defer timer.Stop()
	if _, err := call(ctx, in, handle, command(cmdEndless, 0), CallOptions{}); !errors.Is(err, ErrCanceled) {
		t.Errorf("got %v, want %v", err, ErrCanceled)
	}
}

func TestLongKeysAndLogLinesMeetTheirLimits(t *testing.T) {
	h := newHost(t, Options{})
	logs := &recorder{}
	in, handle := newInstance(t, h, hostileWasm, InstanceOptions{Imports: logs})
	if _, err := call(t.Context(), in, handle, command(cmdLongLog, 10000), CallOptions{}); err != nil {
		t.Fatal(err)
	}
	if len(logs.lines) != 1 || len(logs.lines[0]) != MaxLogLineBytes {
		t.Errorf("%d lines, the first of %d bytes", len(logs.lines), len(logs.lines[0]))
	}
	_, err := call(t.Context(), in, handle, command(cmdLongKey, 0), CallOptions{})
	if !errors.Is(err, ErrImport) || !strings.Contains(err.Error(), "limit is 4096") {
		t.Errorf("a long key: %v", err)
	}
}

func TestAnImportIsBookedOnTheCauseInTheProgressWord(t *testing.T) {
	h := newHost(t, Options{})
	state := &recorder{}
	in, handle := newInstance(t, h, hostileWasm, InstanceOptions{Imports: state})
	if _, err := call(t.Context(), in, handle, command(cmdStatePut, 0), CallOptions{}); err != nil {
		t.Fatal(err)
	}
	if want := (Access{Handle: handle, Cause: 7}); state.at != want || state.state["k"] != "v" {
		t.Errorf("got %v %v, want %v", state.at, state.state, want)
	}
	if in.progress() != abi.NoCause {
		t.Errorf("between calls the progress word is %d", in.progress())
	}
}

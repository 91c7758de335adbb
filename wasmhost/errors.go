package wasmhost

import (
	"errors"
	"fmt"
	"strings"

	"github.com/weirstream/weir/abi"
)

// The ways in which a call can end badly. Each arrives inside a *Trap.
var (
	ErrDeadline       = errors.New("time limit exceeded")
	ErrCanceled       = errors.New("call canceled")
	ErrMemory         = errors.New("memory limit exceeded")
	ErrStack          = errors.New("stack limit exceeded")
	ErrTrap           = errors.New("guest trapped")
	ErrOutputTooLarge = errors.New("output limit exceeded")
	ErrBadPointer     = errors.New("bad pointer from guest")
	ErrBadAnswer      = errors.New("answer breaks the contract")
	ErrExit           = errors.New("guest exited")
	ErrWait           = errors.New("guest tried to wait")
	ErrImport         = errors.New("import refused")
)

var (
	// ErrInstanceDead is the answer to any call after one that ended badly.
	ErrInstanceDead = errors.New("instance is dead: close it and make a new one")
	// ErrInvalidModule wraps what the compiler says about a module whose
	// sections are fine and whose code is not.
	ErrInvalidModule = errors.New("invalid module")
	// ErrInputTooLarge refuses an argument above abi's limits, before the call.
	ErrInputTooLarge = errors.New("input limit exceeded")
	// ErrOpen carries a guest's own refusal to open a function.
	ErrOpen = errors.New("guest refused to open the function")
)

// Trap reports how and where a call ended badly.
type Trap struct {
	Kind   error    // one of the errors above
	Export string   // the export that was called
	Detail string   // numbers, limits, the way out
	Cause  error    // the engine's or an import's error, may be nil
	Stack  []string // the guest's functions, innermost first
	Logs   []string // the first and the last lines that the guest wrote in this call
	// Progress is the cause that the guest was at, or abi.NoCause.
	Progress uint32
}

func (t *Trap) Error() string {
	s := t.Export + ": " + t.Kind.Error()
	if t.Detail != "" {
		s += ": " + t.Detail
	}
	if t.Cause != nil {
		s += ": " + t.Cause.Error()
	}
	if t.Progress != abi.NoCause {
		s += fmt.Sprintf(" (at cause %d)", t.Progress)
	}
	if len(t.Stack) > 0 {
		s += " in " + t.Stack[0]
	}
	return s
}

// Unwrap makes errors.Is find both the kind and the cause.
func (t *Trap) Unwrap() []error {
	if t.Cause == nil {
		return []error{t.Kind}
	}
	return []error{t.Kind, t.Cause}
}

// Report is the long form: the error, the guest's stack, its last log lines.
func (t *Trap) Report() string {
	var b strings.Builder
	b.WriteString(t.Error())
	for _, f := range t.Stack {
		b.WriteString("\n    at " + f)
	}
	for _, l := range t.Logs {
		b.WriteString("\n    log " + l)
	}
	return b.String()
}

// stop is what an import panics with to end a call.
type stop struct {
	kind   error
	detail string
	cause  error
}

func (s *stop) Error() string { return s.kind.Error() }

// Marks of wazero's error texts; a test holds each of them against the engine.
const (
	stackMark    = "wasm stack trace:\n\t"
	overflowMark = "stack overflow"
)

// newTrap turns an error of the engine into a report. It runs before the
// instance is closed, while memory can be read.
func (in *Instance) newTrap(export string, err error) *Trap {
	t := &Trap{Kind: ErrTrap, Export: export, Progress: in.progress()}
	text := err.Error()
	if i := strings.Index(text, stackMark); i >= 0 {
		t.Stack = guestFrames(text[i+len(stackMark):])
		text = text[:i]
	}
	var s *stop
	switch {
	case errors.As(err, &s):
		t.Kind, t.Detail, t.Cause = s.kind, s.detail, s.cause
	case strings.Contains(text, overflowMark):
		t.Kind, t.Detail = ErrStack, "recursion too deep"
	default:
		t.Cause = errors.New(strings.TrimPrefix(strings.TrimSpace(text), "wasm error: "))
	}
	// A guest that got no memory traps or exits in its own way.
	if in.memory.denied && (t.Kind == ErrTrap || t.Kind == ErrExit) {
		t.Kind, t.Detail = ErrMemory, in.memory.detail()
	}
	t.Logs = in.log.lines()
	return t
}

// guestFrames cleans the engine's stack trace: one function a line, without the
// meter's own.
func guestFrames(text string) []string {
	var frames []string
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimPrefix(strings.TrimSpace(line), ".")
		if line == "" || strings.HasPrefix(line, "weir.") || strings.HasPrefix(line, wasiModule+".") {
			continue
		}
		frames = append(frames, line)
	}
	return frames
}

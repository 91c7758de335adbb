package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"

	"connectrpc.com/connect"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

// failure is an error as a person gets it: what happened, what to do next.
type failure struct {
	exit int
	text string
	hint string
	err  error
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.err }

func (f *failure) print(w io.Writer, colours bool) {
	if f.text == "" {
		return // the command has said it already
	}
	p := paint(colours)
	fmt.Fprintf(w, "%s %s\n", p.red("error:"), f.text)
	if f.hint != "" {
		fmt.Fprintf(w, "%s %s\n", p.bold("hint: "), f.hint)
	}
}

// as gives the failure another exit code.
func (f *failure) as(exit int) error {
	f.exit = exit
	return f
}

// fail makes an error with an exit code and a hint.
func fail(exit int, err error, hint string, args ...any) error {
	return &failure{exit: exit, text: err.Error(), hint: fmt.Sprintf(hint, args...), err: err}
}

func usageError(err error, hint string, args ...any) error {
	return fail(ExitUsage, err, hint, args...)
}

// said ends a command with a code after it has explained itself on its own.
func said(exit int) error { return &failure{exit: exit} }

// explain finds exit code and hint of any error. It is the one place that maps
// Connect codes to exit codes.
func explain(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	var wire *connect.Error
	if errors.As(err, &wire) {
		return explainWire(err, wire)
	}
	f = &failure{exit: ExitFailure, text: err.Error(), err: err}
	var h interface{ Hint() string }
	switch {
	case errors.As(err, &h):
		f.hint = h.Hint()
	case errors.Is(err, fs.ErrNotExist):
		f.exit = ExitNotFound
		f.hint = "check the path; - means standard input or output"
	case errors.Is(err, fs.ErrPermission):
		f.hint = "check who may read or write that path"
	case strings.HasPrefix(f.text, "required flag"):
		f.exit = ExitUsage
		f.hint = "add the flag; --help shows an example"
	}
	return f
}

func explainWire(err error, wire *connect.Error) *failure {
	f := &failure{exit: ExitFailure, text: plain(err, wire), err: err}
	switch wire.Code() {
	case connect.CodeNotFound:
		f.exit, f.hint = ExitNotFound, "see what there is: weir topic list, weir module list, weir pipeline list"
	case connect.CodeInvalidArgument, connect.CodeOutOfRange:
		f.exit, f.hint = ExitRefused, "correct the value and call again"
	case connect.CodeFailedPrecondition:
		f.exit, f.hint = ExitRefused, "weir pipeline status and weir doctor tell the present state"
	case connect.CodeAlreadyExists:
		f.exit, f.hint = ExitConflict, "take another name, or delete the old one first"
	case connect.CodeAborted:
		f.exit, f.hint = ExitConflict, "someone else changed it; call again"
	case connect.CodeResourceExhausted:
		f.hint = "send less at once, or raise the limit that the text names"
	case connect.CodeUnavailable, connect.CodeDeadlineExceeded:
		f.exit, f.hint = ExitUnreachable, "the server may be starting; call again, or look at its log"
	case connect.CodeUnimplemented:
		f.hint = "client and server differ; compare them with: weir version"
	case connect.CodeUnauthenticated, connect.CodePermissionDenied:
		f.exit, f.hint = ExitDenied, "ask whoever runs the server for a token, and give it by WEIR_TOKEN"
	case connect.CodeInternal, connect.CodeUnknown, connect.CodeDataLoss:
		f.hint = "the server's log has more; weir doctor checks what it relies on"
	}
	if p := problemOf(wire); p != nil && p.GetHint() != "" {
		f.hint = p.GetHint()
	}
	return f
}

// plain is the error's text without the code that Connect puts before it, and
// without saying twice what both sides were doing.
func plain(err error, wire *connect.Error) string {
	message := wire.Message()
	if wire.Code() == connect.CodeNotFound {
		message = strings.TrimSuffix(message, ": not found") // the words before say so
	}
	doing, _, _ := strings.Cut(err.Error(), wire.Error())
	// One side may quote a name where the other does not.
	bare := strings.NewReplacer(`"`, "").Replace
	if strings.HasPrefix(bare(message), bare(strings.TrimSuffix(doing, ": "))) {
		return message
	}
	return strings.TrimSpace(doing + message)
}

// problemOf finds the hint that a server attached to its error.
func problemOf(wire *connect.Error) *weirv1.Problem {
	for _, d := range wire.Details() {
		if v, err := d.Value(); err == nil {
			if p, ok := v.(*weirv1.Problem); ok {
				return p
			}
		}
	}
	return nil
}

// notReached is true if a call failed before any byte of it was sent, so that
// calling again cannot do anything twice.
func notReached(err error) bool {
	var dial *net.OpError
	return errors.As(err, &dial) && dial.Op == "dial"
}

func isFailure(err error) bool {
	var f *failure
	return errors.As(err, &f)
}

// asked ends a following command that Ctrl-C stopped: that is its normal end.
func asked(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func quote(s string) string { return `"` + s + `"` }

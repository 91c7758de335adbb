package cli

import (
	"errors"
	"fmt"
	"strings"

	"connectrpc.com/connect"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

// gravity says whether a problem ends the command.
type gravity string

const (
	warning gravity = "warning"
	refusal gravity = "error"
)

// FileError refuses a file for what stands in it. Functions of Local return it,
// and the command shows each problem with its line.
type FileError struct {
	File     string
	Problems []*weirv1.Problem
}

func (e *FileError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = fmt.Sprintf("%s:%d:%d: %s", e.File, p.GetLine(), p.GetColumn(), p.GetMessage())
		if p.GetHint() != "" {
			lines[i] += "; " + p.GetHint()
		}
	}
	return strings.Join(lines, "\n")
}

// printProblems shows each problem as FILE:LINE:COLUMN with the line it stands
// in and a mark below the place.
func (a *app) printProblems(path string, text []byte, problems []*weirv1.Problem, g gravity) {
	p := paint(a.colours(a.env.ErrTerminal))
	lines := strings.Split(string(text), "\n")
	for _, pr := range problems {
		where := path
		if pr.GetLine() > 0 {
			where = fmt.Sprintf("%s:%d:%d", path, pr.GetLine(), max(pr.GetColumn(), 1))
		}
		word := p.yellow(string(g) + ":")
		if g == refusal {
			word = p.red(string(g) + ":")
		}
		fmt.Fprintf(a.env.Stderr, "%s: %s %s\n", p.bold(where), word, pr.GetMessage())
		if n := int(pr.GetLine()); n > 0 && n <= len(lines) {
			line := strings.TrimRight(lines[n-1], "\r")
			fmt.Fprintf(a.env.Stderr, "  %s\n  %s%s\n", line, under(line, int(pr.GetColumn())), p.green("^"))
		}
		if pr.GetHint() != "" {
			fmt.Fprintf(a.env.Stderr, "%s %s\n", p.bold("hint: "), pr.GetHint())
		}
	}
}

// under is the blanks, or tabs, up to a column of a line.
func under(line string, column int) string {
	var b strings.Builder
	for i, r := range line {
		if i >= column-1 {
			break
		}
		if r == '\t' {
			b.WriteByte('\t')
		} else {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// refusedFile shows a refused pipeline file with its positions, where the
// server attached them to the error.
func (a *app) refusedFile(path string, text []byte, err error) error {
	var wire *connect.Error
	if !errors.As(err, &wire) || wire.Code() != connect.CodeInvalidArgument {
		return err
	}
	var problems []*weirv1.Problem
	for _, d := range wire.Details() {
		if v, verr := d.Value(); verr == nil {
			if p, ok := v.(*weirv1.Problem); ok && p.GetLine() > 0 {
				problems = append(problems, p)
			}
		}
	}
	if len(problems) == 0 {
		return err
	}
	a.printProblems(path, text, problems, refusal)
	return said(ExitRefused)
}

package cli

import (
	"fmt"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

// maxPipelineBytes bounds a pipeline file.
const maxPipelineBytes = 1 << 20

func (a *app) pipelineCommand() *cobra.Command {
	return group("pipeline", "Pipelines: what runs",
		`A pipeline is a file that says which topics flow through which functions to
which topics. Applying it starts it, or changes it with its state kept.`,
		a.pipelineValidate(), a.pipelineDiff(), a.pipelineApply(), a.pipelineList(), a.pipelineStatus(),
		a.pipelineStop(), a.pipelineResume(), a.pipelineRescale(), a.pipelineDelete(), a.pipelineLogs())
}

func (a *app) pipelineValidate() *cobra.Command {
	var o outputFormat
	cmd := &cobra.Command{
		Use: "validate FILE", Short: "Check a pipeline file against the modules and topics that are there",
		Long: `Check a pipeline file against the modules and topics that are there. Nothing is
changed. Problems are shown with line and column; the exit code is then 4.`,
		Example: "  weir pipeline validate pipeline.yaml\n  generate | weir pipeline validate -",
		Args:    names("FILE"),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			text, err := a.readFile(args[0], maxPipelineBytes)
			if err != nil {
				return fmt.Errorf("read pipeline: %w", err)
			}
			r, err := c.pipelines.ValidatePipeline(cmd.Context(), connect.NewRequest(&weirv1.ValidatePipelineRequest{Namespace: a.namespace, File: string(text)}))
			if err != nil {
				return a.refusedFile(args[0], text, fmt.Errorf("validate %s: %w", args[0], err))
			}
			bad := len(r.Msg.GetProblems()) > 0
			if o == formatJSON {
				if err := printJSON(a.env.Stdout, r.Msg); err != nil {
					return err
				}
			} else {
				a.printProblems(args[0], text, r.Msg.GetWarnings(), warning)
				a.printProblems(args[0], text, r.Msg.GetProblems(), refusal)
				if !bad {
					a.confirm("%s is valid: pipeline %s", args[0], r.Msg.GetName())
				}
			}
			if bad {
				return said(ExitRefused)
			}
			return nil
		}),
	}
	outputFlag(cmd, &o, formatTable, formatJSON)
	return cmd
}

func (a *app) pipelineDiff() *cobra.Command {
	var (
		o    outputFormat
		from savepointFlags
	)
	cmd := &cobra.Command{
		Use: "diff FILE", Short: "Show what applying a file would change: state kept, new, dropped",
		Long: `Show what applying a file would change: lines of the graph with + added, - removed,
~ changed, and for each state whether it is kept, new, dropped or incompatible with
its new shape. With --from-savepoint it is compared with a savepoint. Nothing is changed.`,
		Example: "  weir pipeline diff pipeline.yaml\n  weir pipeline diff pipeline.yaml --from-savepoint s3",
		Args:    names("FILE"),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			text, err := a.readFile(args[0], maxPipelineBytes)
			if err != nil {
				return fmt.Errorf("read pipeline: %w", err)
			}
			r, err := c.pipelines.DiffPipeline(cmd.Context(), connect.NewRequest(&weirv1.DiffPipelineRequest{Namespace: a.namespace, File: string(text), FromSavepoint: from.id}))
			if err != nil {
				return a.refusedFile(args[0], text, fmt.Errorf("diff %s: %w", args[0], err))
			}
			if o == formatJSON {
				return printJSON(a.env.Stdout, r.Msg)
			}
			return a.printDiff(r.Msg)
		}),
	}
	a.savepointFlag(cmd, &from)
	outputFlag(cmd, &o, formatTable, formatJSON)
	return cmd
}

func (a *app) printDiff(d *weirv1.DiffPipelineResponse) error {
	p, w := a.out(), a.env.Stdout
	if !d.GetExists() {
		fmt.Fprintf(w, "pipeline %s is new\n", p.bold(d.GetName()))
	} else if len(d.GetGraph()) == 0 && !stateMoves(d.GetState()) {
		fmt.Fprintf(w, "pipeline %s would not change\n", p.bold(d.GetName()))
	}
	for _, line := range d.GetGraph() {
		switch {
		case strings.HasPrefix(line, "+"):
			line = p.green(line)
		case strings.HasPrefix(line, "-"):
			line = p.red(line)
		case strings.HasPrefix(line, "~"):
			line = p.yellow(line)
		}
		fmt.Fprintln(w, line)
	}
	if len(d.GetState()) == 0 {
		return nil
	}
	t := newTable("STATE", "OPERATOR", "NAME", "WAS", "NOW")
	for _, s := range d.GetState() {
		t.row(p.change(s.GetKind()), s.GetOperator(), s.GetState(), dash(s.GetWas()), dash(s.GetNow()))
	}
	return t.print(w, p)
}

func stateMoves(changes []*weirv1.StateChange) bool {
	for _, s := range changes {
		if s.GetKind() != weirv1.StateChange_KIND_KEPT {
			return true
		}
	}
	return false
}

func (p paint) change(k weirv1.StateChange_Kind) string {
	word := enumWord(k.Descriptor(), k.Number())
	switch k {
	case weirv1.StateChange_KIND_KEPT, weirv1.StateChange_KIND_NEW:
		return p.green(word)
	case weirv1.StateChange_KIND_DROPPED:
		return p.yellow(word)
	case weirv1.StateChange_KIND_INCOMPATIBLE:
		return p.red(word)
	}
	return word
}

func dash(s string) string { return orDefault(s, "-") }

func (a *app) pipelineApply() *cobra.Command {
	var (
		o              outputFormat
		allow, stopped bool
		from           savepointFlags
		duplicates     bool
	)
	cmd := &cobra.Command{
		Use: "apply FILE", Short: "Create or change a pipeline from a file",
		Long: `Create a pipeline from a file, or change the one of that name: a last checkpoint
is taken and the new revision starts from its state. A change that would drop
state is refused unless --allow-dropped-state is given; weir pipeline diff shows
it beforehand. The same file twice changes nothing.

With --from-savepoint it starts from a savepoint's state (weir savepoint list), of
whatever pipeline, parallelism or cluster. Where its positions hold for no topic
here, --positions start or end says where to read from instead.

A module that the file names by a path (module: alert.wasm) is pushed first, if that
file is there.`,
		Example: `  weir pipeline apply pipeline.yaml
  weir pipeline apply pipeline.yaml --stopped
  weir pipeline apply pipeline.yaml --allow-dropped-state
  weir pipeline apply pipeline.yaml --from-savepoint s3 --positions start`,
		Args: names("FILE"),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			text, err := a.readFile(args[0], maxPipelineBytes)
			if err != nil {
				return fmt.Errorf("read pipeline: %w", err)
			}
			if err := a.pushNamed(cmd.Context(), c, args[0], text); err != nil {
				return err
			}
			p := a.startProgress(waiting("applying " + args[0]))
			r, err := c.pipelines.ApplyPipeline(cmd.Context(), connect.NewRequest(&weirv1.ApplyPipelineRequest{
				Namespace: a.namespace, File: string(text), AllowDroppedState: allow, Stopped: stopped,
				FromSavepoint: from.id, Positions: from.positions, AllowDuplicates: duplicates,
			}))
			p.end()
			if err != nil {
				return a.refusedFile(args[0], text, fmt.Errorf("apply %s: %w", args[0], err))
			}
			a.printProblems(args[0], text, r.Msg.GetWarnings(), warning)
			if o == formatJSON {
				return printJSON(a.env.Stdout, r.Msg)
			}
			got := r.Msg.GetPipeline()
			if r.Msg.GetUnchanged() {
				a.confirm("pipeline %s is unchanged: revision %d, %s", got.GetName(), got.GetRevision(), got.GetState())
				return nil
			}
			if d := r.Msg.GetDiff(); (d.GetExists() || from.id != "") && !a.quiet {
				if err := a.printDiff(d); err != nil {
					return err
				}
			}
			a.confirm("applied pipeline %s: revision %d, %s", got.GetName(), got.GetRevision(), got.GetDesired())
			return nil
		}),
	}
	f := cmd.Flags()
	f.BoolVar(&allow, "allow-dropped-state", false, "go on although the change drops state")
	f.BoolVar(&stopped, "stopped", false, "register it without starting")
	a.savepointFlag(cmd, &from)
	f.StringVar(&from.positions, "positions", "", "with a savepoint, where sources begin: keep (the default), start, end")
	f.BoolVar(&duplicates, "allow-duplicates", false, "with a savepoint: what was published behind it may appear twice")
	outputFlag(cmd, &o, formatTable, formatJSON)
	return cmd
}

// savepointFlags say what a pipeline starts from.
type savepointFlags struct{ id, positions string }

func (a *app) savepointFlag(cmd *cobra.Command, s *savepointFlags) {
	cmd.Flags().StringVar(&s.id, "from-savepoint", "", "id of a savepoint whose state it starts from")
	_ = cmd.RegisterFlagCompletionFunc("from-savepoint", a.completeFlag(savepointIDs)) // the flag is there
}

func (a *app) pipelineList() *cobra.Command {
	var o outputFormat
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List pipelines",
		Long:    "List the pipelines of the namespace, with the state of their jobs and why they failed.",
		Example: "  weir pipeline list\n  weir pipeline list -o json | jq -r '.[] | select(.state != \"running\").name'",
		Args:    names(),
		RunE: a.call(func(cmd *cobra.Command, c *clients, _ []string) error {
			r, err := c.pipelines.ListPipelines(cmd.Context(), connect.NewRequest(&weirv1.ListPipelinesRequest{Namespace: a.namespace}))
			if err != nil {
				return fmt.Errorf("list pipelines: %w", err)
			}
			if o == formatJSON {
				return printJSONList(a.env.Stdout, r.Msg.GetPipelines())
			}
			if len(r.Msg.GetPipelines()) == 0 {
				a.confirm("no pipelines in namespace %s; create one with: weir pipeline apply FILE", a.namespace)
				return nil
			}
			p := a.out()
			t := newTable("NAME", "STATE", ">REVISION", ">PARALLELISM", ">RESTARTS", "UPDATED", "ERROR")
			for _, l := range r.Msg.GetPipelines() {
				t.row(l.GetName(), p.state(l.GetState()), fmt.Sprint(l.GetRevision()), fmt.Sprint(l.GetParallelism()),
					count(l.GetRestarts()), moment(l.GetUpdated()), dash(firstLine(trouble(l))))
			}
			return t.print(a.env.Stdout, p)
		}),
	}
	outputFlag(cmd, &o, formatTable, formatJSON)
	return cmd
}

// trouble is the error of a job that it keeps from running; one that it has got
// over is history, which weir pipeline logs keeps.
func trouble(p *weirv1.Pipeline) string {
	switch p.GetState() {
	case "restarting", "failed", "starting":
		return p.GetError()
	}
	return ""
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

package cli

import (
	"fmt"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

func (a *app) pipelineStatus() *cobra.Command {
	var (
		watch bool
		file  bool
		o     outputFormat
	)
	cmd := &cobra.Command{
		Use: "status NAME", Short: "Show how a pipeline does: operators, lag, watermark, checkpoints",
		Long: `Show how a pipeline does. With --watch it is shown again at every change, at most
once a second, until Ctrl-C; with -o json each change is then one line. --file
shows the file as it was applied.`,
		Example: `  weir pipeline status flights
  weir pipeline status flights --watch
  weir pipeline status flights -o json | jq .lag_records`,
		Args:              names("NAME"),
		ValidArgsFunction: a.completeName(pipelineNames),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			if watch {
				return a.watchStatus(cmd, c, args[0], o)
			}
			r, err := c.pipelines.GetPipeline(cmd.Context(), connect.NewRequest(&weirv1.GetPipelineRequest{Namespace: a.namespace, Name: args[0]}))
			if err != nil {
				return fmt.Errorf("get pipeline %q: %w", args[0], err)
			}
			if file {
				_, err := fmt.Fprint(a.env.Stdout, r.Msg.GetFile())
				return err
			}
			if o == formatJSON {
				return printJSON(a.env.Stdout, r.Msg.GetStatus())
			}
			_, err = fmt.Fprint(a.env.Stdout, a.statusText(r.Msg.GetStatus()))
			return err
		}),
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "show it again at every change")
	cmd.Flags().BoolVar(&file, "file", false, "show the file as it was applied")
	outputFlag(cmd, &o, formatTable, formatJSON)
	return cmd
}

func (a *app) watchStatus(cmd *cobra.Command, c *clients, name string, o outputFormat) error {
	s, err := c.pipelines.WatchPipeline(cmd.Context(), connect.NewRequest(&weirv1.WatchPipelineRequest{Namespace: a.namespace, Name: name}))
	if err != nil {
		return fmt.Errorf("watch pipeline %q: %w", name, err)
	}
	defer s.Close()
	first := true
	for s.Receive() {
		status := s.Msg().GetStatus()
		if o == formatJSON {
			if err := printJSONLine(a.env.Stdout, status); err != nil {
				return err
			}
			continue
		}
		text := a.statusText(status)
		switch {
		case a.env.OutTerminal:
			text = "\x1b[H\x1b[2J" + text // a screen of its own, redrawn in place
		case !first:
			text = "\n" + text
		}
		if _, err := fmt.Fprint(a.env.Stdout, text); err != nil {
			return err
		}
		first = false
	}
	if err := s.Err(); err != nil {
		return asked(cmd.Context(), fmt.Errorf("watch pipeline %q: %w", name, err))
	}
	return nil
}

func (a *app) statusText(s *weirv1.PipelineStatus) string {
	var b strings.Builder
	p, pl := a.out(), s.GetPipeline()
	// Writes to a Builder never fail, so the results of pairs and print are nil.
	_ = pairs(&b, p,
		"pipeline", p.bold(pl.GetName()),
		"state", stateLine(p, pl),
		"revision", fmt.Sprintf("%d, applied %s", pl.GetRevision(), moment(pl.GetUpdated())),
		"attempt", fmt.Sprintf("%d, %s restarts", pl.GetAttempt(), count(pl.GetRestarts())),
		"parallelism", parallelismLine(pl),
		"modules", modulesLine(pl.GetModules()),
		"records", fmt.Sprintf("%s in, %s out, %s behind", count(s.GetRecordsIn()), count(s.GetRecordsOut()), count(s.GetLagRecords())),
		"checkpoint", checkpointLine(s.GetLastCheckpoint()),
	)
	if s.GetCheckpointProblem() != "" {
		fmt.Fprintf(&b, "%s %s\n", p.yellow("checkpoint problem:"), s.GetCheckpointProblem())
	}
	if text := trouble(pl); text != "" {
		fmt.Fprintf(&b, "%s %s\n", p.red("error:"), text)
		if pl.GetErrorHint() != "" {
			fmt.Fprintf(&b, "%s %s\n", p.bold("hint: "), pl.GetErrorHint())
		}
	}
	if left := leftBytes(s); left > 0 {
		fmt.Fprintf(&b, "restoring: about %s of state is still to be loaded; what is asked for comes first\n", size(left))
	}
	for _, w := range s.GetWarnings() {
		fmt.Fprintf(&b, "%s %s\n", p.yellow("warning:"), w)
	}
	if len(s.GetOperators()) == 0 {
		return b.String()
	}
	b.WriteByte('\n')
	t := newTable("OPERATOR", "KIND", ">TASKS", ">IN", ">OUT", ">LAG", ">BUSY", ">BACKPR.", ">KEYS", ">STATE", ">TIMERS", ">LATE", ">DEAD", "WATERMARK")
	for _, op := range s.GetOperators() {
		t.row(op.GetOperator(), op.GetKind(), fmt.Sprint(op.GetTasks()), count(op.GetRecordsIn()), count(op.GetRecordsOut()),
			count(op.GetLagRecords()), percent(op.GetBusyRatio()), percent(op.GetBackpressuredRatio()),
			count(op.GetStateKeys()), size(op.GetStateBytes()), count(op.GetTimers()), count(op.GetLateRecords()), count(op.GetDeadLetters()), moment(op.GetWatermark()))
	}
	_ = t.print(&b, p)
	return b.String()
}

func leftBytes(s *weirv1.PipelineStatus) (left uint64) {
	for _, op := range s.GetOperators() {
		left += op.GetStateLeftBytes()
	}
	return left
}

func stateLine(p paint, pl *weirv1.Pipeline) string {
	s := p.state(pl.GetState())
	if pl.GetDesired() != "" && pl.GetDesired() != pl.GetState() {
		s += " (wanted: " + pl.GetDesired() + ")"
	}
	return s
}

// parallelismLine names what runs, what is wanted and what the file says, as far as they differ.
func parallelismLine(pl *weirv1.Pipeline) string {
	s := fmt.Sprint(pl.GetParallelism())
	if now := pl.GetRunningParallelism(); now != 0 && now != pl.GetParallelism() {
		s += fmt.Sprintf(", now %d", now)
	}
	if own := pl.GetFileParallelism(); own != 0 && own != pl.GetParallelism() {
		s += fmt.Sprintf(" (rescaled; the file says %d)", own)
	}
	return s
}

func modulesLine(modules []string) string {
	short := make([]string, len(modules))
	for i, m := range modules {
		name, digest, _ := strings.Cut(m, "@")
		short[i] = name + "@" + shortDigest(digest)
	}
	return strings.Join(short, ", ")
}

func checkpointLine(c *weirv1.Checkpoint) string {
	if c.GetId() == 0 {
		return "none yet"
	}
	published := "published"
	if !c.GetPublished() {
		published = "not yet published"
	}
	line := fmt.Sprintf("%d at %s, %s", c.GetId(), moment(c.GetCommitted()), published)
	switch added, total, took := cost(c); {
	case added != "-":
		line += fmt.Sprintf(", %s new of %s, took %s", added, total, took)
	case total != "-":
		line += ", " + total
	}
	return line
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

func (a *app) pipelineStop() *cobra.Command {
	return &cobra.Command{
		Use: "stop NAME", Short: "Stop a pipeline after a last checkpoint",
		Long: `Stop a pipeline: it takes a last checkpoint, publishes what belongs to it and gives
its slots back. weir pipeline resume goes on from there.`,
		Example:           "  weir pipeline stop flights",
		Args:              names("NAME"),
		ValidArgsFunction: a.completeName(pipelineNames),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			p := a.startProgress(waiting("stopping " + args[0] + ": last checkpoint, publishing"))
			state, err := a.stop(cmd.Context(), c, args[0])
			p.end()
			if err != nil {
				return fmt.Errorf("stop pipeline %q: %w", args[0], err)
			}
			a.confirm("pipeline %s is %s", args[0], state)
			return nil
		}),
	}
}

// stop stops a pipeline and waits until its last output is published and its
// tasks are gone.
func (a *app) stop(ctx context.Context, c *clients, name string) (state string, err error) {
	r, err := c.pipelines.StopPipeline(ctx, connect.NewRequest(&weirv1.StopPipelineRequest{Namespace: a.namespace, Name: name}))
	if err != nil {
		return "", err
	}
	if state = r.Msg.GetPipeline().GetState(); settled(state) {
		return state, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := c.pipelines.WatchPipeline(ctx, connect.NewRequest(&weirv1.WatchPipelineRequest{Namespace: a.namespace, Name: name}))
	if err != nil {
		return "", err
	}
	defer s.Close()
	for s.Receive() {
		if state = s.Msg().GetStatus().GetPipeline().GetState(); settled(state) {
			return state, nil
		}
	}
	return "", s.Err()
}

// settled says whether a job in that state holds nothing and goes nowhere by itself.
func settled(state string) bool {
	return state == "created" || state == "stopped" || state == "failed" || state == "finished"
}

func (a *app) pipelineResume() *cobra.Command {
	var (
		from  uint64
		allow bool
		doubt decision
	)
	cmd := &cobra.Command{
		Use: "resume NAME", Short: "Start a stopped or failed pipeline from its last checkpoint",
		Long: `Start a stopped or failed pipeline from its last checkpoint.

An older one can be named by --from-checkpoint (weir checkpoint list shows them).
Output that was published after it is then published again, so this needs
--allow-duplicates.

Where a job failed because nothing tells whether the output of its last
checkpoint is visible (somebody purged or recreated the topic), you decide:
--assume-published leaves that output out, and it is lost if it never was
visible; --publish-again publishes it, and readers see it twice if it was. Only
the parts in doubt of that one checkpoint are concerned.`,
		Example: `  weir pipeline resume flights
  weir pipeline resume flights --from-checkpoint 41 --allow-duplicates
  weir pipeline resume flights --assume-published`,
		Args:              names("NAME"),
		ValidArgsFunction: a.completeName(pipelineNames),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			if from != 0 && !allow {
				return usageError(errors.New("--from-checkpoint publishes again what came after that checkpoint"), "add --allow-duplicates if readers can bear it")
			}
			r, err := c.pipelines.ResumePipeline(cmd.Context(), connect.NewRequest(&weirv1.ResumePipelineRequest{
				Namespace: a.namespace, Name: args[0], FromCheckpoint: from, AllowDuplicates: allow, Doubt: doubt.message(),
			}))
			if err != nil {
				return fmt.Errorf("resume pipeline %q: %w", args[0], err)
			}
			p := a.startProgress(waiting("resuming " + args[0]))
			now, why, err := a.started(cmd.Context(), c, r.Msg.GetPipeline())
			p.end()
			if err != nil {
				return fmt.Errorf("resume pipeline %q: %w", args[0], err)
			}
			if resting(now.GetState()) && now.GetAttempt() == r.Msg.GetPipeline().GetAttempt() {
				a.confirm("pipeline %s is still %s and starts when it can%s", args[0], now.GetState(), why)
				return nil
			}
			a.confirm("pipeline %s is %s", args[0], now.GetState())
			return nil
		}),
	}
	cmd.Flags().Uint64Var(&from, "from-checkpoint", 0, "id of an older checkpoint (default: the last)")
	cmd.Flags().BoolVar(&allow, "allow-duplicates", false, "output after that checkpoint may appear twice")
	cmd.Flags().BoolVar(&doubt.assume, "assume-published", false, "output in doubt counts as visible: lost if it is not")
	cmd.Flags().BoolVar(&doubt.again, "publish-again", false, "output in doubt is published: twice if it is visible")
	cmd.MarkFlagsMutuallyExclusive("assume-published", "publish-again", "from-checkpoint")
	return cmd
}

// decision is what the user says about output in doubt.
type decision struct{ assume, again bool }

func (d decision) message() weirv1.ResumePipelineRequest_Doubt {
	switch {
	case d.assume:
		return weirv1.ResumePipelineRequest_DOUBT_ASSUME_PUBLISHED
	case d.again:
		return weirv1.ResumePipelineRequest_DOUBT_PUBLISH_AGAIN
	}
	return weirv1.ResumePipelineRequest_DOUBT_UNSPECIFIED
}

// resumeWait bounds how long resume waits for a start: without free slots there is none.
const resumeWait = 15 * time.Second

// started waits until a job has left the state in which it was resumed, and says
// how it stands then, and what warnings there are if it has not.
func (a *app) started(ctx context.Context, c *clients, was *weirv1.Pipeline) (now *weirv1.Pipeline, why string, err error) {
	if !resting(was.GetState()) {
		return was, "", nil
	}
	within, cancel := context.WithTimeout(ctx, resumeWait)
	defer cancel()
	s, err := c.pipelines.WatchPipeline(within, connect.NewRequest(&weirv1.WatchPipelineRequest{Namespace: a.namespace, Name: was.GetName()}))
	if err != nil {
		return nil, "", err
	}
	defer s.Close()
	now = was
	for s.Receive() {
		now, why = s.Msg().GetStatus().GetPipeline(), ""
		if !resting(now.GetState()) || now.GetAttempt() > was.GetAttempt() {
			return now, "", nil
		}
		for _, w := range s.Msg().GetStatus().GetWarnings() {
			why += "; " + w
		}
	}
	if within.Err() != nil && ctx.Err() == nil {
		return now, why, nil
	}
	return nil, "", s.Err()
}

// resting says whether a job in that state has yet to be started anew.
func resting(state string) bool {
	return settled(state) || state == "stopping" || state == "draining"
}

func (a *app) pipelineDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME", Aliases: []string{"rm"}, Short: "Delete a pipeline with its state and checkpoints",
		Long:              "Delete a pipeline with its state and checkpoints. A running one is stopped first.\nIts topics stay.",
		Example:           "  weir pipeline delete flights",
		Args:              names("NAME"),
		ValidArgsFunction: a.completeName(pipelineNames),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			p := a.startProgress(waiting("deleting " + args[0]))
			_, err := a.stop(cmd.Context(), c, args[0])
			if err == nil {
				_, err = c.pipelines.DeletePipeline(cmd.Context(), connect.NewRequest(&weirv1.DeletePipelineRequest{Namespace: a.namespace, Name: args[0]}))
			}
			p.end()
			if err != nil {
				return fmt.Errorf("delete pipeline %q: %w", args[0], err)
			}
			a.confirm("deleted pipeline %s", args[0])
			return nil
		}),
	}
}

func (a *app) pipelineLogs() *cobra.Command {
	var (
		follow bool
		tail   uint32
		o      outputFormat
	)
	cmd := &cobra.Command{
		Use: "logs NAME", Short: "Show what a pipeline's functions and tasks logged",
		Long:              "Show what a pipeline's functions and tasks logged. With -f new lines follow until Ctrl-C.",
		Example:           "  weir pipeline logs flights --tail 50\n  weir pipeline logs flights -f\n  weir pipeline logs flights -o json | jq 'select(.level == \"error\")'",
		Args:              names("NAME"),
		ValidArgsFunction: a.completeName(pipelineNames),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			s, err := c.pipelines.Logs(cmd.Context(), connect.NewRequest(&weirv1.LogsRequest{Namespace: a.namespace, Name: args[0], Follow: follow, Tail: tail}))
			if err != nil {
				return fmt.Errorf("read logs of pipeline %q: %w", args[0], err)
			}
			defer s.Close()
			for s.Receive() {
				for _, l := range s.Msg().GetLines() {
					if err := a.printLog(l, o); err != nil {
						return err
					}
				}
			}
			if err := s.Err(); err != nil {
				err = fmt.Errorf("read logs of pipeline %q: %w", args[0], err)
				if !follow {
					return err
				}
				return asked(cmd.Context(), err)
			}
			return nil
		}),
	}
	f := cmd.Flags()
	f.BoolVarP(&follow, "follow", "f", false, "go on with new lines until Ctrl-C")
	f.Uint32Var(&tail, "tail", 0, "only the last lines of the past (0: all that are kept)")
	outputFlag(cmd, &o, formatTable, formatJSON)
	return cmd
}

func (a *app) printLog(l *weirv1.LogLine, o outputFormat) error {
	if o == formatJSON {
		return printJSONLine(a.env.Stdout, l)
	}
	p := a.out()
	level := fmt.Sprintf("%-5s", l.GetLevel())
	switch l.GetLevel() {
	case "error":
		level = p.red(level)
	case "warn":
		level = p.yellow(level)
	case "debug":
		level = p.dim(level)
	}
	_, err := fmt.Fprintf(a.env.Stdout, "%s %s %s %s\n", p.dim(l.GetTime().AsTime().UTC().Format("2006-01-02T15:04:05.000Z")),
		level, p.dim(fmt.Sprintf("%s/%d", l.GetOperator(), l.GetTask())), l.GetText())
	return err
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

func (a *app) pipelineRescale() *cobra.Command {
	var (
		to       uint32
		operator string
		noWait   bool
		o        outputFormat
	)
	cmd := &cobra.Command{
		Use: "rescale NAME --parallelism N", Short: "Run a pipeline with more or fewer tasks, state and output kept",
		Long: `Run a pipeline with more or fewer tasks. The tasks take a last checkpoint, what
belongs to it is published, and the next ones take the state over by key groups.
Nothing is lost or shown twice; in between no record is read.

Every part follows that has no parallelism of its own in the file; --operator
changes one alone, named as weir pipeline status names it. The file stays as it is:
the next weir pipeline apply of it brings its own parallelism back, and weir pipeline
diff shows that beforehand.`,
		Example: `  weir pipeline rescale flights --parallelism 8
  weir pipeline rescale flights --parallelism 2 --operator sink.alerts
  weir pipeline rescale flights --parallelism 8 --no-wait`,
		Args:              names("NAME"),
		ValidArgsFunction: a.completeName(pipelineNames),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			if to == 0 {
				return usageError(errors.New("--parallelism is missing"), "usage: %s", cmd.UseLine())
			}
			r, err := c.pipelines.RescalePipeline(cmd.Context(), connect.NewRequest(&weirv1.RescalePipelineRequest{
				Namespace: a.namespace, Name: args[0], Parallelism: to, Operator: operator,
			}))
			if err != nil {
				return fmt.Errorf("rescale pipeline %q: %w", args[0], err)
			}
			now := r.Msg.GetPipeline()
			if !noWait && !r.Msg.GetUnchanged() {
				if now, err = a.rescaled(cmd.Context(), c, now); err != nil {
					return fmt.Errorf("rescale pipeline %q: %w", args[0], err)
				}
				r.Msg.Pipeline = now
			}
			if o == formatJSON {
				return printJSON(a.env.Stdout, r.Msg)
			}
			for _, k := range r.Msg.GetKept() {
				a.confirm("%s", k)
			}
			for _, w := range r.Msg.GetWarnings() {
				a.confirm("%s %s", a.errs().yellow("warning:"), w.GetMessage())
			}
			switch {
			case r.Msg.GetUnchanged():
				a.confirm("pipeline %s is unchanged: parallelism %d", args[0], now.GetParallelism())
			case noWait && now.GetDesired() == "running":
				a.confirm("pipeline %s goes to parallelism %d as revision %d; weir pipeline status %s tells when", args[0], now.GetParallelism(), now.GetRevision(), args[0])
			case now.GetDesired() != "running":
				a.confirm("pipeline %s has parallelism %d as revision %d when it is resumed", args[0], now.GetParallelism(), now.GetRevision())
			default:
				a.confirm("pipeline %s runs at parallelism %d: revision %d", args[0], now.GetParallelism(), now.GetRevision())
			}
			return nil
		}),
	}
	f := cmd.Flags()
	f.Uint32Var(&to, "parallelism", 0, "tasks of each stage, 1 to 256")
	f.StringVar(&operator, "operator", "", "of this operator alone")
	f.BoolVar(&noWait, "no-wait", false, "return when it is decided, not when it runs")
	outputFlag(cmd, &o, formatTable, formatJSON)
	return cmd
}

// rescaled waits until the revision runs, or the pipeline is at rest.
func (a *app) rescaled(ctx context.Context, c *clients, want *weirv1.Pipeline) (*weirv1.Pipeline, error) {
	if want.GetDesired() != "running" {
		return want, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := c.pipelines.WatchPipeline(ctx, connect.NewRequest(&weirv1.WatchPipelineRequest{Namespace: a.namespace, Name: want.GetName()}))
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var step atomic.Value
	step.Store("waiting")
	p := a.startProgress(func(elapsed time.Duration) string {
		return waiting(fmt.Sprintf("rescaling %s to %d: %s", want.GetName(), want.GetParallelism(), step.Load()))(elapsed)
	})
	defer p.end()
	for s.Receive() {
		status := s.Msg().GetStatus()
		now := status.GetPipeline()
		switch {
		case now.GetRevision() > want.GetRevision():
			return nil, fail(ExitConflict, fmt.Errorf("revision %d came in between", now.GetRevision()), "weir pipeline status %s shows it", want.GetName())
		case now.GetState() == "failed":
			return nil, fail(ExitFailure, fmt.Errorf("its job failed: %s", now.GetError()), "%s", now.GetErrorHint())
		case now.GetRunningRevision() == want.GetRevision() && (now.GetState() == "running" || settled(now.GetState())), settled(now.GetState()) && now.GetDesired() != "running":
			return now, nil
		}
		step.Store(rescaleStep(status, want.GetRevision()))
	}
	if err := s.Err(); err != nil {
		return nil, err
	}
	return nil, fail(ExitFailure, errors.New("the server ended the call before it was through"), "weir pipeline status %s tells how far it is", want.GetName())
}

// rescaleStep says how far a rescale has come.
func rescaleStep(s *weirv1.PipelineStatus, revision uint64) string {
	for _, w := range s.GetWarnings() {
		if len(w) > len(waitsToStart) && w[:len(waitsToStart)] == waitsToStart {
			return w
		}
	}
	switch p := s.GetPipeline(); {
	case p.GetRunningRevision() == revision:
		return "taking state over"
	case p.GetState() == "stopping" && s.GetLastCheckpoint() != nil && !s.GetLastCheckpoint().GetPublished():
		return "publishing"
	case p.GetState() == "stopping":
		return "last checkpoint"
	default:
		return p.GetState()
	}
}

// waitsToStart begins the warning of a job that finds no slots.
const waitsToStart = "it waits to start"

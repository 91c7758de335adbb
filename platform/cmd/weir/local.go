package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/cli"
	"github.com/weirstream/weir/platform/cli/dev"
	"github.com/weirstream/weir/platform/local"
)

// inProcess names what runs in this process. A command without a function refuses.
func inProcess() cli.Local {
	return cli.Local{
		RunServer:  runServer,
		RunWorker:  runWorker,
		RunDev:     func(ctx context.Context, o cli.DevOptions) error { return dev.Run(ctx, o, runServer) },
		RunBounded: func(ctx context.Context, o cli.RunOptions) error { return refusals(runBounded(ctx, o)) },
		RunTest:    func(ctx context.Context, o cli.TestOptions) error { return refusals(runTest(ctx, o)) },
	}
}

// refusals turns what the planner says of a file into what the command shows.
func refusals(err error) error {
	var refused *local.ProblemsError
	if !errors.As(err, &refused) {
		return err
	}
	out := &cli.FileError{File: refused.File}
	for _, p := range refused.Problems {
		out.Problems = append(out.Problems, &weirv1.Problem{Message: p.Message, Hint: p.Hint, Line: uint32(p.Pos.Line), Column: uint32(p.Pos.Column)})
	}
	return out
}

// deadLetters is the name under which dead letters are written, if it is given
// as an output; without it they are told on the log.
const deadLetters = cli.DeadLettersSink

func runBounded(ctx context.Context, o cli.RunOptions) error {
	inputs := map[string]local.Input{}
	for source, s := range o.Inputs {
		inputs[source] = s.Open
	}
	log := logger(o.Log)
	var line []byte
	return local.Run(ctx, local.Options{
		Pipeline: o.Pipeline, Inputs: inputs, Modules: o.Modules, Parallelism: o.Parallelism, Log: log, Progress: o.Progress,
		Write: func(sink string, text []byte) error {
			to, ok := o.Outputs[orDeadLetters(sink)]
			switch {
			case !ok && sink == "":
				log.Warn("dead letter", "record", string(text))
				return nil
			case !ok:
				if to, ok = o.Outputs[""]; !ok {
					return nil // no output was asked of this sink
				}
			}
			line = append(append(line[:0], text...), '\n')
			if _, err := to.W.Write(line); err != nil {
				return fmt.Errorf("write output of sink %s to %s: %w", sink, to.Path, err)
			}
			return nil
		},
	})
}

func runTest(ctx context.Context, o cli.TestOptions) error {
	steps := make([]local.Step, len(o.Steps))
	for i, s := range o.Steps {
		steps[i] = local.Step{Source: s.Source, Record: s.Record, Watermark: s.Watermark, Clock: s.Clock, Place: fmt.Sprintf("%s:%d", s.File, s.LineNumber)}
	}
	return local.Test(ctx, local.TestOptions{
		Pipeline: o.Pipeline, Steps: steps, Log: logger(o.Log),
		Emit: func(r local.Row) {
			o.Emit(cli.TestRow{Sink: orDeadLetters(r.Sink), Operator: r.Operator, Output: r.Output, Main: r.Main, Line: r.Line})
		},
	})
}

func orDeadLetters(sink string) string {
	if sink == "" {
		return deadLetters
	}
	return sink
}

// logger tells people what went wrong and nothing else.
func logger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

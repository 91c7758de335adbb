package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/planner/pipelinefile"
	"github.com/weirstream/weir/platform/planner/statefunfile"
)

// playgroundPartitions are those of the topics that stand for StateFun's playground.
const playgroundPartitions = 4

func (a *app) statefunCommand() *cobra.Command {
	return group("statefun", "StateFun: run an application of Flink StateFun as it is",
		`Run an application that was written for Flink StateFun: its servers of functions go on as
they are, and its module.yaml becomes a pipeline.`,
		a.statefunApply(), a.statefunConvert())
}

func (a *app) statefunApply() *cobra.Command {
	var (
		name string
		o    outputFormat
	)
	cmd := &cobra.Command{
		Use: "apply FILE", Short: "Create or change a pipeline from a module.yaml",
		Long: `Create or change the pipeline of a StateFun application from its module.yaml: endpoints
of functions, topics of Weir as ingress and egress (io.weir.topic.v1/ingress, egress),
and the kinds of the playground, whose topics are created. Kinds of Kafka and Kinesis
are refused by name. weir statefun convert prints the pipeline's file instead.`,
		Example: "  weir statefun apply module.yaml\n  weir statefun apply module.yaml --pipeline greeter",
		Args:    names("FILE"),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			converted, err := a.convertModule(args[0], name)
			if err != nil {
				return err
			}
			for _, topic := range converted.Topics {
				if err := a.playgroundTopic(cmd.Context(), c, topic); err != nil {
					return err
				}
			}
			p := a.startProgress(waiting("applying " + args[0]))
			r, err := c.pipelines.ApplyPipeline(cmd.Context(), connect.NewRequest(&weirv1.ApplyPipelineRequest{Namespace: a.namespace, File: converted.Text}))
			p.end()
			if err != nil {
				return fmt.Errorf("apply %s: %w", args[0], err)
			}
			if o == formatJSON {
				return printJSON(a.env.Stdout, r.Msg)
			}
			got := r.Msg.GetPipeline()
			if r.Msg.GetUnchanged() {
				a.confirm("pipeline %s is unchanged: revision %d, %s", got.GetName(), got.GetRevision(), got.GetState())
				return nil
			}
			a.confirm("applied pipeline %s: revision %d, %s", got.GetName(), got.GetRevision(), got.GetDesired())
			return nil
		}),
	}
	cmd.Flags().StringVar(&name, "pipeline", "", "the pipeline's name (default: that of the file's folder)")
	outputFlag(cmd, &o, formatTable, formatJSON)
	return cmd
}

func (a *app) statefunConvert() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use: "convert FILE", Short: "Print the pipeline file of a module.yaml",
		Long:    "Print the pipeline file that weir statefun apply would apply, to go on from there.",
		Example: "  weir statefun convert module.yaml --pipeline greeter > pipeline.yaml",
		Args:    names("FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			converted, err := a.convertModule(args[0], name)
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(a.env.Stdout, converted.Text)
			return err
		},
	}
	cmd.Flags().StringVar(&name, "pipeline", "", "the pipeline's name (default: that of the file's folder)")
	return cmd
}

// convertModule reads a module.yaml and prints what there is to say of it.
func (a *app) convertModule(path, name string) (*statefunfile.Converted, error) {
	text, err := a.readFile(path, statefunfile.MaxFileBytes)
	if err != nil {
		return nil, fmt.Errorf("read module: %w", err)
	}
	if name == "" {
		absolute, err := filepath.Abs(path)
		if err != nil || path == "-" {
			return nil, usageError(errors.New("the pipeline has no name"), "give it one: --pipeline NAME")
		}
		if name = filepath.Base(filepath.Dir(absolute)); !pipelinefile.ValidName(name) {
			return nil, usageError(fmt.Errorf("the folder's name %q is none for a pipeline", name), "give it one: --pipeline NAME")
		}
	}
	converted, problems := statefunfile.Convert(text, name)
	if len(problems) > 0 {
		return nil, &FileError{File: path, Problems: wireProblems(problems)}
	}
	a.printProblems(path, text, wireProblems(converted.Warnings), warning)
	return converted, nil
}

func wireProblems(problems []pipelinefile.Problem) []*weirv1.Problem {
	var out []*weirv1.Problem
	for _, p := range problems {
		out = append(out, &weirv1.Problem{Message: p.Message, Hint: p.Hint, Line: uint32(p.Pos.Line), Column: uint32(p.Pos.Column)})
	}
	return out
}

// playgroundTopic creates a topic unless it is there.
func (a *app) playgroundTopic(ctx context.Context, c *clients, topic string) error {
	_, err := c.topics.CreateTopic(ctx, connect.NewRequest(&weirv1.CreateTopicRequest{Namespace: a.namespace, Name: topic, Partitions: playgroundPartitions}))
	if err != nil && connect.CodeOf(err) != connect.CodeAlreadyExists {
		return fmt.Errorf("create topic %s: %w", topic, err)
	}
	if err == nil {
		a.confirm("created topic %s: %d partitions", topic, playgroundPartitions)
	}
	return nil
}

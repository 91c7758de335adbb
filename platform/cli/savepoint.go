package cli

import (
	"context"
	"fmt"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

func (a *app) savepointCommand() *cobra.Command {
	return group("savepoint", "Savepoints: state that is kept, and can be carried elsewhere",
		`A savepoint holds a pipeline's state and positions at one moment, whole and
independent of the pipeline. It is kept until it is deleted, and another pipeline,
parallelism, cluster or later version can start from it:

  weir pipeline apply FILE --from-savepoint ID`,
		a.savepointCreate(), a.savepointList(), a.savepointInfo(), a.savepointExport(), a.savepointImport(), a.savepointDelete())
}

func (a *app) savepointCreate() *cobra.Command {
	var (
		label string
		o     outputFormat
	)
	cmd := &cobra.Command{
		Use: "create PIPELINE", Short: "Take a savepoint of a pipeline",
		Long: `Take a savepoint of a pipeline: a checkpoint is taken, the output that belongs to it is
published, and its state is kept. The pipeline goes on meanwhile. Of one that is
stopped it is the last checkpoint.`,
		Example:           "  weir savepoint create flights --label 'before the upgrade'\n  weir savepoint create flights -o json | jq -r .id",
		Args:              names("PIPELINE"),
		ValidArgsFunction: a.completeName(pipelineNames),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			p := a.startProgress(waiting("taking a savepoint of " + args[0]))
			r, err := c.savepoints.CreateSavepoint(cmd.Context(), connect.NewRequest(&weirv1.CreateSavepointRequest{Namespace: a.namespace, Pipeline: args[0], Label: label}))
			p.end()
			if err != nil {
				return fmt.Errorf("take savepoint of pipeline %q: %w", args[0], err)
			}
			s := r.Msg.GetSavepoint()
			if o == formatJSON {
				return printJSON(a.env.Stdout, s)
			}
			a.confirm("savepoint %s of pipeline %s: checkpoint %d, revision %d", s.GetId(), s.GetPipeline(), s.GetCheckpoint(), s.GetRevision())
			return nil
		}),
	}
	cmd.Flags().StringVar(&label, "label", "", "a word on what it is for, at most 128 bytes")
	outputFlag(cmd, &o, formatTable, formatJSON)
	return cmd
}

func (a *app) savepointList() *cobra.Command {
	var (
		pipeline string
		o        outputFormat
	)
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List savepoints, oldest first",
		Long:    "List the savepoints of the namespace, oldest first. Those of pipelines that are gone are\nkept too.",
		Example: "  weir savepoint list\n  weir savepoint list --pipeline flights -o json | jq -r '.[-1].id'",
		Args:    names(),
		RunE: a.call(func(cmd *cobra.Command, c *clients, _ []string) error {
			r, err := c.savepoints.ListSavepoints(cmd.Context(), connect.NewRequest(&weirv1.ListSavepointsRequest{Namespace: a.namespace, Pipeline: pipeline}))
			if err != nil {
				return fmt.Errorf("list savepoints: %w", err)
			}
			if o == formatJSON {
				return printJSONList(a.env.Stdout, r.Msg.GetSavepoints())
			}
			if len(r.Msg.GetSavepoints()) == 0 {
				a.confirm("no savepoints in namespace %s; take one with: weir savepoint create PIPELINE", a.namespace)
				return nil
			}
			t := newTable("ID", "PIPELINE", ">REVISION", ">CHECKPOINT", "CREATED", "LABEL", "FROM")
			for _, s := range r.Msg.GetSavepoints() {
				t.row(s.GetId(), s.GetPipeline(), fmt.Sprint(s.GetRevision()), fmt.Sprint(s.GetCheckpoint()), moment(s.GetCreated()), dash(s.GetLabel()), origin(s))
			}
			return t.print(a.env.Stdout, a.out())
		}),
	}
	cmd.Flags().StringVar(&pipeline, "pipeline", "", "only of this pipeline")
	outputFlag(cmd, &o, formatTable, formatJSON)
	return cmd
}

// origin says whose a savepoint is, where that is not a pipeline that is here.
func origin(s *weirv1.Savepoint) string {
	switch {
	case s.GetCluster() != "":
		return "cluster " + s.GetCluster()
	case !s.GetPipelineExists():
		return "a pipeline that was deleted"
	}
	return "-"
}

func (a *app) savepointInfo() *cobra.Command {
	var (
		file bool
		o    outputFormat
	)
	cmd := &cobra.Command{
		Use: "info ID", Short: "Show what is in a savepoint: operators, states, keys, bytes, positions",
		Long: `Show what is in a savepoint: operators, states with their shapes and how much is in
them, bytes, and where its sources stand. All of it is read, so this also finds out
whether it is whole. --file shows the pipeline file of the revision that wrote it.`,
		Example:           "  weir savepoint info s3\n  weir savepoint info s3 -o json | jq '.operators[].states'\n  weir savepoint info s3 --file > pipeline.yaml",
		Args:              names("ID"),
		ValidArgsFunction: a.completeName(savepointIDs),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			p := a.startProgress(waiting("reading savepoint " + args[0]))
			r, err := c.savepoints.GetSavepoint(cmd.Context(), connect.NewRequest(&weirv1.GetSavepointRequest{Namespace: a.namespace, Id: args[0]}))
			p.end()
			switch {
			case err != nil:
				return fmt.Errorf("look into savepoint %q: %w", args[0], err)
			case file:
				_, err := fmt.Fprint(a.env.Stdout, r.Msg.GetFile())
				return err
			case o == formatJSON:
				return printJSON(a.env.Stdout, r.Msg)
			}
			return a.printSavepoint(r.Msg)
		}),
	}
	cmd.Flags().BoolVar(&file, "file", false, "show the pipeline file of its revision")
	outputFlag(cmd, &o, formatTable, formatJSON)
	return cmd
}

func (a *app) printSavepoint(r *weirv1.GetSavepointResponse) error {
	w, p, s := a.env.Stdout, a.out(), r.GetSavepoint()
	if err := pairs(w, p,
		"savepoint", p.bold(s.GetId()),
		"pipeline", fmt.Sprintf("%s, revision %d", s.GetPipeline(), s.GetRevision()),
		"checkpoint", fmt.Sprint(s.GetCheckpoint()),
		"created", moment(s.GetCreated()),
		"label", dash(s.GetLabel()),
		"from", origin(s),
		"size", size(r.GetBytes()),
	); err != nil {
		return err
	}
	states := newTable("OPERATOR", "KIND", ">TASKS", ">BYTES", "STATE", ">KEYS", ">ENTRIES", "SHAPE")
	for _, op := range r.GetOperators() {
		head := []string{op.GetOperator(), op.GetKind(), fmt.Sprint(op.GetTasks()), size(op.GetBytes())}
		for _, st := range op.GetStates() {
			states.row(append(head, st.GetName(), count(st.GetKeys()), count(st.GetEntries()), dash(st.GetShape()))...)
			head = []string{"", "", "", ""}
		}
		if len(op.GetStates()) == 0 {
			states.row(append(head, "-", "-", "-", "-")...)
		}
	}
	fmt.Fprintln(w)
	if err := states.print(w, p); err != nil {
		return err
	}
	positions := newTable("SOURCE", "SPLIT", "POSITION", "WATERMARK")
	some := false
	for _, op := range r.GetOperators() {
		for _, at := range op.GetPositions() {
			some = true
			positions.row(op.GetOperator(), at.GetSplit(), dash(at.GetPosition()), moment(at.GetWatermark()))
		}
	}
	if !some {
		return nil
	}
	fmt.Fprintln(w)
	return positions.print(w, p)
}

func (a *app) savepointDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete ID", Aliases: []string{"rm"}, Short: "Delete a savepoint",
		Long:              "Delete a savepoint. Its files go as far as nothing else needs them. One that a pipeline\nis just starting from is refused.",
		Example:           "  weir savepoint delete s3",
		Args:              names("ID"),
		ValidArgsFunction: a.completeName(savepointIDs),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			if _, err := c.savepoints.DeleteSavepoint(cmd.Context(), connect.NewRequest(&weirv1.DeleteSavepointRequest{Namespace: a.namespace, Id: args[0]})); err != nil {
				return fmt.Errorf("delete savepoint %q: %w", args[0], err)
			}
			a.confirm("deleted savepoint %s", args[0])
			return nil
		}),
	}
}

func savepointIDs(ctx context.Context, c *clients, namespace string) ([]string, error) {
	r, err := c.savepoints.ListSavepoints(ctx, connect.NewRequest(&weirv1.ListSavepointsRequest{Namespace: namespace}))
	if err != nil {
		return nil, err
	}
	var found []string
	for _, s := range r.Msg.GetSavepoints() {
		found = append(found, s.GetId())
	}
	return found, nil
}

package cli

import (
	"fmt"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

func (a *app) checkpointCommand() *cobra.Command {
	return group("checkpoint", "Checkpoints: what a pipeline restarts from",
		"A checkpoint holds a pipeline's state, positions and prepared output at one moment.",
		a.checkpointList())
}

func (a *app) checkpointList() *cobra.Command {
	var o outputFormat
	cmd := &cobra.Command{
		Use: "list PIPELINE", Aliases: []string{"ls"}, Short: "List the checkpoints that are kept, newest first",
		Long: `List the checkpoints that are kept, newest first: when each was committed, whether
the output that belongs to it is published, how much it added and how large it is.

TOTAL is all that its manifest names: state, positions and prepared output. NEW
is what was written for it, the manifest too. NEW and TOOK are known of the last one
only, while the server that took it runs; else -.`,
		Example:           "  weir checkpoint list flights\n  weir checkpoint list flights -o json | jq '.[0].id'",
		Args:              names("PIPELINE"),
		ValidArgsFunction: a.completeName(pipelineNames),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			r, err := c.pipelines.ListCheckpoints(cmd.Context(), connect.NewRequest(&weirv1.ListCheckpointsRequest{Namespace: a.namespace, Name: args[0]}))
			if err != nil {
				return fmt.Errorf("list checkpoints of pipeline %q: %w", args[0], err)
			}
			if o == formatJSON {
				return printJSONList(a.env.Stdout, r.Msg.GetCheckpoints())
			}
			if len(r.Msg.GetCheckpoints()) == 0 {
				a.confirm("pipeline %s has no checkpoint yet", args[0])
				return nil
			}
			t := newTable(">ID", ">REVISION", ">ATTEMPT", "COMMITTED", "PUBLISHED", ">NEW", ">TOTAL", ">TOOK")
			for _, k := range r.Msg.GetCheckpoints() {
				published := "yes"
				if !k.GetPublished() {
					published = "no"
				}
				added, total, took := cost(k)
				t.row(fmt.Sprint(k.GetId()), fmt.Sprint(k.GetRevision()), fmt.Sprint(k.GetAttempt()), moment(k.GetCommitted()), published,
					added, total, took)
			}
			return t.print(a.env.Stdout, a.out())
		}),
	}
	outputFlag(cmd, &o, formatTable, formatJSON)
	return cmd
}

// cost is what a checkpoint added, holds and took. What only the leader that took
// it knew is gone with that one: 0 would be a lie.
func cost(k *weirv1.Checkpoint) (added, total, took string) {
	added, total, took = "-", "-", "-"
	if k.GetDurationMs() > 0 || k.GetSizeBytes() > 0 {
		added, took = size(k.GetSizeBytes()), span(time.Duration(k.GetDurationMs())*time.Millisecond)
	}
	if k.GetTotalBytes() > 0 || added != "-" {
		total = size(k.GetTotalBytes())
	}
	return added, total, took
}

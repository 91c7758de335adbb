package cli

import (
	"errors"
	"fmt"
	"strconv"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

func (a *app) deadLetterCommand() *cobra.Command {
	return group("deadletter", "Dead letters: records that a pipeline could not handle",
		`A record that cannot be decoded, or that makes a function fail, goes to the
pipeline's dead letters with the reason and its position.`,
		a.deadLetterList(), a.deadLetterShow(), a.deadLetterReplay())
}

func (a *app) deadLetterList() *cobra.Command {
	var (
		after uint64
		limit uint32
		o     outputFormat
	)
	cmd := &cobra.Command{
		Use: "list PIPELINE", Aliases: []string{"ls"}, Short: "List dead letters with reason and position",
		Long: `List a pipeline's dead letters, oldest first, with the reason and the position
TOPIC/PARTITION@SEQUENCE.ROW where the record was read.`,
		Example:           "  weir deadletter list flights\n  weir deadletter list flights --after 120 --limit 20",
		Args:              names("PIPELINE"),
		ValidArgsFunction: a.completeName(pipelineNames),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			r, err := c.pipelines.ListDeadLetters(cmd.Context(), connect.NewRequest(&weirv1.ListDeadLettersRequest{
				Namespace: a.namespace, Name: args[0], After: after, Limit: limit,
			}))
			if err != nil {
				return fmt.Errorf("list dead letters of pipeline %q: %w", args[0], err)
			}
			if o == formatJSON {
				return a.lettersJSON(r.Msg.GetLetters())
			}
			if len(r.Msg.GetLetters()) == 0 {
				a.confirm("no dead letters in pipeline %s", args[0])
				return nil
			}
			t := newTable(">ID", "TIME", "OPERATOR", "POSITION", "REASON")
			for _, l := range r.Msg.GetLetters() {
				t.row(fmt.Sprint(l.GetId()), moment(l.GetTime()), l.GetOperator(), position(l), firstLine(l.GetReason()))
			}
			if err := t.print(a.env.Stdout, a.out()); err != nil {
				return err
			}
			if n := uint64(len(r.Msg.GetLetters())); r.Msg.GetTotal() > n {
				last := r.Msg.GetLetters()[n-1].GetId()
				a.confirm("%s of %s; go on with --after %d", count(n), count(r.Msg.GetTotal()), last)
			}
			return nil
		}),
	}
	f := cmd.Flags()
	f.Uint64Var(&after, "after", 0, "only those with a higher id")
	f.Uint32Var(&limit, "limit", 100, "at most so many")
	outputFlag(cmd, &o, formatTable, formatJSON)
	return cmd
}

// position is where a record was read.
func position(l *weirv1.DeadLetter) string {
	return fmt.Sprintf("%s/%d@%d.%d", l.GetTopic(), l.GetPartition(), l.GetSequence(), l.GetSourceRow())
}

func (a *app) lettersJSON(letters []*weirv1.DeadLetter) error {
	b := []byte{'['}
	for i, l := range letters {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendLetter(b, l)
	}
	return indent(a.env.Stdout, append(b, ']'))
}

// appendLetter writes key and value readably instead of in base 64.
func appendLetter(b []byte, l *weirv1.DeadLetter) []byte {
	b = append(b, fmt.Sprintf(`{"id":%d,"row":%d,"time":`, l.GetId(), l.GetRow())...)
	b = appendValue(b, l.ProtoReflect().Descriptor().Fields().ByName("time"), l.ProtoReflect().Get(l.ProtoReflect().Descriptor().Fields().ByName("time")))
	b = appendText(append(b, `,"operator":`...), l.GetOperator())
	b = appendText(append(b, `,"reason":`...), l.GetReason())
	b = appendText(append(b, `,"topic":`...), l.GetTopic())
	b = append(b, fmt.Sprintf(`,"partition":%d,"sequence":%d,"source_row":%d`, l.GetPartition(), l.GetSequence(), l.GetSourceRow())...)
	b = appendBytes(b, "key", l.Key)
	b = appendBytes(b, "value", l.Value)
	return append(b, '}')
}

func (a *app) deadLetterShow() *cobra.Command {
	var o outputFormat
	cmd := &cobra.Command{
		Use: "show PIPELINE ID", Short: "Show one dead letter whole: reason, position, key and value",
		Long:              "Show one dead letter whole. With -o value only the record's bytes, as they were.",
		Example:           "  weir deadletter show flights 17\n  weir deadletter show flights 17 -o value > record.json",
		Args:              names("PIPELINE", "ID"),
		ValidArgsFunction: a.completeName(pipelineNames),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			id, err := letterID(args[1])
			if err != nil {
				return err
			}
			r, err := c.pipelines.ListDeadLetters(cmd.Context(), connect.NewRequest(&weirv1.ListDeadLettersRequest{
				Namespace: a.namespace, Name: args[0], After: id - 1, Limit: 1,
			}))
			if err != nil {
				return fmt.Errorf("get dead letter %d of pipeline %q: %w", id, args[0], err)
			}
			if len(r.Msg.GetLetters()) == 0 || r.Msg.GetLetters()[0].GetId() != id {
				return fail(ExitNotFound, fmt.Errorf("pipeline %q has no dead letter %d", args[0], id), "see: weir deadletter list %s", args[0])
			}
			l := r.Msg.GetLetters()[0]
			switch o {
			case formatJSON:
				return indent(a.env.Stdout, appendLetter(nil, l))
			case formatValue:
				_, err := a.env.Stdout.Write(l.GetValue())
				return err
			}
			return pairs(a.env.Stdout, a.out(),
				"id", fmt.Sprint(l.GetId()),
				"time", moment(l.GetTime()),
				"operator", l.GetOperator(),
				"position", position(l),
				"key", readable(l.Key),
				"value", readable(l.Value),
				"reason", l.GetReason(),
			)
		}),
	}
	outputFlag(cmd, &o, formatTable, formatJSON, formatValue)
	return cmd
}

// letterID reads an id; ids begin with 1.
func letterID(s string) (uint64, error) {
	id, err := strconv.ParseUint(s, 10, 64)
	if err != nil || id == 0 {
		return 0, usageError(fmt.Errorf("dead letter %q is not an id", s), "ids are numbers from 1; see: weir deadletter list PIPELINE")
	}
	return id, nil
}

func (a *app) deadLetterReplay() *cobra.Command {
	var (
		all   bool
		after uint64
	)
	cmd := &cobra.Command{
		Use: "replay PIPELINE [ID...]", Short: "Publish dead letters to the topics they came from once more",
		Long: `Publish dead letters to the topics they came from once more, by id or all of them.
A replayed record comes after everything that was published meanwhile.

A letter stays in the list, and --all replays it again, so a second --all publishes
twice what the first did. The command says behind which id to go on: --all --after ID
takes only letters that came later.`,
		Example:           "  weir deadletter replay flights 17 18\n  weir deadletter replay flights --all\n  weir deadletter replay flights --all --after 1800000",
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: a.completeName(pipelineNames),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			if len(args) == 0 {
				return usageError(errors.New("PIPELINE is missing"), "usage: %s", cmd.UseLine())
			}
			if all == (len(args) > 1) {
				return usageError(errors.New("want ids, or --all"), "see ids with: weir deadletter list %s", args[0])
			}
			if after > 0 && !all {
				return usageError(errors.New("--after goes with --all"), "name ids, or all behind one: --all --after %d", after)
			}
			var ids []uint64
			for _, s := range args[1:] {
				id, err := letterID(s)
				if err != nil {
					return err
				}
				ids = append(ids, id)
			}
			p := a.startProgress(waiting("replaying"))
			r, err := c.pipelines.ReplayDeadLetters(cmd.Context(), connect.NewRequest(&weirv1.ReplayDeadLettersRequest{Namespace: a.namespace, Name: args[0], Ids: ids, After: after}))
			p.end()
			if err != nil {
				return fmt.Errorf("replay dead letters of pipeline %q: %w", args[0], err)
			}
			a.confirm("replayed %s records", count(r.Msg.GetRecords()))
			if last := r.Msg.GetLast(); all && last > 0 {
				a.confirm("later only what comes behind them: --all --after %d", last)
			}
			return nil
		}),
	}
	cmd.Flags().BoolVar(&all, "all", false, "all dead letters of the pipeline, also those that were replayed before")
	cmd.Flags().Uint64Var(&after, "after", 0, "with --all: only those with a higher id")
	return cmd
}

package cli

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

const (
	// defaultDumped is how many entries a dump shows without -n.
	defaultDumped = 1000
	// maxShownValue is how many characters of a value a table shows.
	maxShownValue = 120
)

func (a *app) stateCommand() *cobra.Command {
	return group("state", "State: what an operator holds for its keys",
		`Read the keyed state and the timers that a checkpoint or a savepoint holds. What
tasks have done since is in none of it: the last checkpoint is at most an interval old
while the pipeline runs (weir checkpoint list), and a savepoint is made as of now.`,
		a.stateGet(), a.stateDump())
}

// stateFlags say what is read.
type stateFlags struct {
	state, savepoint string
	checkpoint       uint64
	live             bool
	output           outputFormat
}

func (f *stateFlags) add(a *app, cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.state, "state", "", "only this state; $timers are the timers")
	flags.Uint64Var(&f.checkpoint, "checkpoint", 0, "of this checkpoint (default: the last one)")
	flags.StringVar(&f.savepoint, "savepoint", "", "of this savepoint")
	flags.BoolVar(&f.live, "live", false, "refused: nothing reads what tasks hold now")
	outputFlag(cmd, &f.output, formatTable, formatJSON)
	if err := cmd.RegisterFlagCompletionFunc("savepoint", a.completeFlag(savepointIDs)); err != nil {
		panic(err) // the flag was added above
	}
}

func (f *stateFlags) check(cmd *cobra.Command, pipeline string) error {
	switch {
	case f.live:
		return usageError(errors.New("--live: what tasks hold now cannot be read; reads are of the last checkpoint"),
			"leave --live out, or for values as of now: weir savepoint create %s, then --savepoint ID", pipeline)
	case cmd.Flags().Changed("checkpoint") && f.checkpoint == 0:
		return usageError(errors.New("--checkpoint 0: ids begin at 1"), "weir checkpoint list %s shows those that are kept", pipeline)
	case f.checkpoint != 0 && f.savepoint != "":
		return usageError(errors.New("--checkpoint and --savepoint exclude each other"), "name one of them")
	}
	return nil
}

func (a *app) stateGet() *cobra.Command {
	var f stateFlags
	cmd := &cobra.Command{
		Use: "get PIPELINE OPERATOR KEY", Short: "Show what an operator holds for one key",
		Long: `Show what an operator holds for one key in the last checkpoint, or in the one that is
named. KEY is the value of the key column; several columns stand with commas between, or
as a JSON list, which can also say null. Values whose shape only the module knows are
shown in base 64. A key without state is exit code 3.`,
		Example:           "  weir state get clicks counter ann\n  weir state get clicks counter '[\"ann\",7]' --state total --savepoint s3\n  weir state get clicks counter ann -o json | jq '.entries[0].value'",
		Args:              names("PIPELINE", "OPERATOR", "KEY"),
		ValidArgsFunction: a.completeState,
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			if err := f.check(cmd, args[0]); err != nil {
				return err
			}
			s, err := c.state.GetState(cmd.Context(), connect.NewRequest(&weirv1.GetStateRequest{Namespace: a.namespace, Pipeline: args[0], Operator: args[1], Key: args[2],
				State: f.state, Checkpoint: f.checkpoint, Savepoint: f.savepoint}))
			what := fmt.Sprintf("read state of pipeline %q", args[0])
			if err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
			defer s.Close()
			read := stateRead{}
			for s.Receive() {
				read.add(s.Msg().GetOrigin(), s.Msg().GetEntries(), s.Msg().GetMore())
			}
			if err := s.Err(); err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
			if f.output == formatJSON {
				err = read.printObject(a)
			} else {
				err = read.printTable(a, "")
			}
			if err == nil && read.more {
				a.confirm("the key has more entries than the %s that one call gives; --state narrows it", count(uint64(len(read.entries))))
			}
			return err
		}),
	}
	f.add(a, cmd)
	return cmd
}

func (a *app) stateDump() *cobra.Command {
	var (
		f     stateFlags
		limit uint64
	)
	cmd := &cobra.Command{
		Use: "dump PIPELINE OPERATOR", Short: "Show what an operator holds, key by key",
		Long: `Show what an operator holds in the last checkpoint, or in the one that is named, in
order of the keys' hashes. With -o json each entry is one line, as it comes.`,
		Example:           "  weir state dump clicks counter\n  weir state dump clicks counter --state total -n 0 -o json | jq -c '[.key,.value]'",
		Args:              names("PIPELINE", "OPERATOR"),
		ValidArgsFunction: a.completeState,
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			if err := f.check(cmd, args[0]); err != nil {
				return err
			}
			return a.dumpState(cmd.Context(), c, &weirv1.DumpStateRequest{Namespace: a.namespace, Pipeline: args[0], Operator: args[1],
				State: f.state, Checkpoint: f.checkpoint, Savepoint: f.savepoint, Limit: limit}, f.output)
		}),
	}
	f.add(a, cmd)
	cmd.Flags().Uint64VarP(&limit, "limit", "n", defaultDumped, "stop after so many entries (0: as many as one call gives, 1,000,000)")
	return cmd
}

func (a *app) dumpState(ctx context.Context, c *clients, r *weirv1.DumpStateRequest, o outputFormat) error {
	what := fmt.Sprintf("dump state of pipeline %q", r.GetPipeline())
	s, err := c.state.DumpState(ctx, connect.NewRequest(r))
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer s.Close()
	read, shown := stateRead{}, uint64(0)
	w := bufio.NewWriterSize(a.env.Stdout, readBuffer)
	var line []byte
	for s.Receive() {
		read.add(s.Msg().GetOrigin(), s.Msg().GetEntries(), s.Msg().GetMore())
		shown += uint64(len(s.Msg().GetEntries()))
		if o != formatJSON {
			continue
		}
		for _, e := range read.entries {
			line = append(appendStateEntry(line[:0], read.origin, e), '\n')
			if _, err := w.Write(line); err != nil {
				return fmt.Errorf("write state: %w", err)
			}
		}
		read.entries = nil
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if o != formatJSON {
		if err := read.printTable(a, "KEY"); err != nil {
			return err
		}
	}
	if read.more {
		a.confirm("there are more than these %s entries; -n shows more, weir state get PIPELINE OPERATOR KEY those of one key", count(shown))
	}
	return nil
}

// stateRead is what came of one call.
type stateRead struct {
	origin  *weirv1.StateOrigin
	entries []*weirv1.StateEntry
	more    bool
}

func (r *stateRead) add(origin *weirv1.StateOrigin, entries []*weirv1.StateEntry, more bool) {
	if origin != nil {
		r.origin = origin
	}
	r.entries = append(r.entries, entries...)
	r.more = r.more || more
}

func originText(o *weirv1.StateOrigin) string {
	text := fmt.Sprintf("checkpoint %d", o.GetCheckpoint())
	if o.GetSavepoint() != "" {
		text = fmt.Sprintf("savepoint %s (checkpoint %d)", o.GetSavepoint(), o.GetCheckpoint())
	}
	return fmt.Sprintf("%s of revision %d, taken %s", text, o.GetRevision(), moment(o.GetTaken()))
}

// printTable prints entries; keyHead is the head of the column of keys, empty for none.
func (r *stateRead) printTable(a *app, keyHead string) error {
	w, p := a.env.Stdout, a.out()
	if err := pairs(w, p, "read from", originText(r.origin), "operator", r.origin.GetOperator(), "key", r.origin.GetKey()); err != nil {
		return err
	}
	fmt.Fprintln(w)
	if len(r.entries) == 0 {
		a.confirm("it holds nothing")
		return nil
	}
	heads := []string{"STATE", "ENTRY", "VALUE", "EXPIRES"}
	if keyHead != "" {
		heads = append([]string{keyHead}, heads...)
	}
	t := newTable(heads...)
	for _, e := range r.entries {
		cells := []string{e.GetState(), dash(e.GetEntry()), cut(stateValue(e)), moment(e.GetExpires())}
		if keyHead != "" {
			cells = append([]string{cut(e.GetKey())}, cells...)
		}
		t.row(cells...)
	}
	return t.print(w, p)
}

// stateValue is an entry's value for people.
func stateValue(e *weirv1.StateEntry) string {
	text := e.GetValue()
	switch {
	case e.GetClock() != "":
		if due := e.GetDue(); due != nil {
			text = precise(due)
		}
		text = "due " + text + " (" + e.GetClock() + ")"
	case text == "":
		text = "base64 " + base64.StdEncoding.EncodeToString(e.GetBytes())
	}
	if e.GetUndecoded() != "" {
		text += " (" + e.GetUndecoded() + ")"
	}
	return text
}

func precise(t *timestamppb.Timestamp) string { return t.AsTime().UTC().Format(time.RFC3339Nano) }

// cut shortens what would not fit a table; -o json has it whole.
func cut(s string) string {
	if utf8.RuneCountInString(s) <= maxShownValue {
		return s
	}
	return string([]rune(s)[:maxShownValue]) + "…"
}

// printObject prints all as one JSON object.
func (r *stateRead) printObject(a *app) error {
	b := append([]byte(`{"origin":`), appendMessage(nil, r.origin.ProtoReflect())...)
	b = append(b, `,"entries":[`...)
	for i, e := range r.entries {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendStateEntry(b, r.origin, e)
	}
	return indent(a.env.Stdout, append(b, "]}"...))
}

// appendStateEntry writes an entry with its key and value as the JSON that they are.
func appendStateEntry(b []byte, o *weirv1.StateOrigin, e *weirv1.StateEntry) []byte {
	b = append(strconv.AppendUint(append(b, `{"checkpoint":`...), o.GetCheckpoint(), 10), `,"savepoint":`...)
	b = orNull(b, o.GetSavepoint(), appendText)
	b = orNull(append(b, `,"key":`...), e.GetKey(), appendRaw)
	b = appendText(append(b, `,"state":`...), e.GetState())
	b = appendText(append(b, `,"kind":`...), e.GetKind())
	b = orNull(append(b, `,"entry":`...), e.GetEntry(), appendRaw)
	b = orNull(append(b, `,"value":`...), e.GetValue(), appendRaw)
	if e.GetValue() == "" && e.GetClock() == "" { // bytes then, if only none
		b = appendText(append(b, `,"value_base64":`...), base64.StdEncoding.EncodeToString(e.GetBytes()))
	}
	if e.GetUndecoded() != "" {
		b = appendText(append(b, `,"undecoded":`...), e.GetUndecoded())
	}
	if e.GetExpires() != nil {
		b = appendText(append(b, `,"expires":`...), precise(e.GetExpires()))
	}
	if e.GetClock() != "" {
		b = appendText(append(b, `,"clock":`...), e.GetClock())
		b = append(b, `,"due":`...)
		if e.GetDue() == nil {
			b = append(b, "null"...)
		} else {
			b = appendText(b, precise(e.GetDue()))
		}
	}
	return append(b, '}')
}

func orNull(b []byte, s string, add func([]byte, string) []byte) []byte {
	if s == "" {
		return append(b, "null"...)
	}
	return add(b, s)
}

// appendRaw writes text that is JSON as it stands, other text as a string.
func appendRaw(b []byte, s string) []byte {
	if json.Valid([]byte(s)) {
		return append(b, s...)
	}
	return appendText(b, s)
}

// completeState completes the pipeline, and then the operators that the server knows of it.
func (a *app) completeState(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
	if len(args) != 1 {
		return a.completeName(pipelineNames)(cmd, args, start)
	}
	return a.completeName(func(ctx context.Context, c *clients, namespace string) ([]string, error) {
		r, err := c.pipelines.GetPipeline(ctx, connect.NewRequest(&weirv1.GetPipelineRequest{Namespace: namespace, Name: args[0]}))
		if err != nil {
			return nil, err
		}
		var found []string
		for _, o := range r.Msg.GetStatus().GetOperators() {
			found = append(found, o.GetOperator())
		}
		return found, nil
	})(cmd, nil, start)
}

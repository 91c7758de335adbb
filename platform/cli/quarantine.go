package cli

import (
	"fmt"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/functions"
)

func (a *app) quarantineCommand() *cobra.Command {
	return group("quarantine", "Addresses that are set aside because their server fails",
		`Functions at a server of their own whose calls fail for good are set aside, address by
address: their messages wait, others go on. Each is tried again by itself, more and more
seldom; release tries at once, and drop gives up what waits.`,
		a.quarantineList(), a.quarantineShow(), a.quarantineControl("release", weirv1.QuarantineAction_QUARANTINE_ACTION_RELEASE),
		a.quarantineControl("drop", weirv1.QuarantineAction_QUARANTINE_ACTION_DROP))
}

func (a *app) quarantineList() *cobra.Command {
	var o outputFormat
	cmd := &cobra.Command{
		Use: "list [TYPE]", Aliases: []string{"ls"}, Short: "List who is set aside, and why",
		Long:              "List the addresses in quarantine, of one type or of all in the namespace, as of the\nnewest checkpoint: at most 1000.",
		Example:           "  weir function quarantine list\n  weir function quarantine list com.example/greeter -o json | jq -r '.[].id'",
		Args:              atMostOne,
		ValidArgsFunction: a.completeName(functionTypes),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			r := &weirv1.ListQuarantineRequest{Namespace: a.namespace}
			if len(args) > 0 {
				r.Type = args[0]
			}
			m, err := c.functions.ListQuarantine(cmd.Context(), connect.NewRequest(r))
			if err != nil {
				return fmt.Errorf("list what is in quarantine: %w", err)
			}
			if o == formatJSON {
				return printJSONList(a.env.Stdout, m.Msg.GetFunctions())
			}
			if len(m.Msg.GetFunctions()) == 0 {
				a.confirm("nobody is in quarantine")
				return nil
			}
			t := newTable("ADDRESS", "PIPELINE", "SINCE", "TRIES", "WAITING", "REASON")
			for _, f := range m.Msg.GetFunctions() {
				t.row(f.GetType()+"/"+f.GetId(), f.GetPipeline(), moment(f.GetSince()), fmt.Sprint(f.GetTries()), count(f.GetMessages()), cut(f.GetReason()))
			}
			if err := t.print(a.env.Stdout, a.out()); err != nil {
				return err
			}
			if m.Msg.GetMore() {
				a.confirm("there are more; name a type")
			}
			return nil
		}),
	}
	outputFlag(cmd, &o, formatTable, formatJSON)
	return cmd
}

func (a *app) quarantineShow() *cobra.Command {
	var o outputFormat
	cmd := &cobra.Command{
		Use: "show ADDRESS", Short: "Show why an address is set aside",
		Long:              "Show an address in quarantine, with the whole reason, as of the newest checkpoint.",
		Example:           "  weir function quarantine show com.example/greeter/ann",
		Args:              names("ADDRESS"),
		ValidArgsFunction: a.completeAddress,
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			address, err := functions.ParseAddress(args[0])
			if err != nil {
				return usageError(err, "weir function quarantine list shows who is there")
			}
			m, err := c.functions.ListQuarantine(cmd.Context(), connect.NewRequest(&weirv1.ListQuarantineRequest{Namespace: a.namespace, Type: address.Type, Id: address.ID}))
			if err != nil {
				return fmt.Errorf("show %s in quarantine: %w", args[0], err)
			}
			if len(m.Msg.GetFunctions()) == 0 {
				return fmt.Errorf("%s is not in quarantine, as of the newest checkpoint", args[0])
			}
			f := m.Msg.GetFunctions()[0]
			if o == formatJSON {
				return printJSON(a.env.Stdout, f)
			}
			return pairs(a.env.Stdout, a.out(), "address", args[0], "pipeline", f.GetPipeline(), "since", moment(f.GetSince()),
				"tries", fmt.Sprint(f.GetTries()), "waiting", count(f.GetMessages())+" messages", "reason", f.GetReason())
		}),
	}
	outputFlag(cmd, &o, formatTable, formatJSON)
	return cmd
}

func (a *app) quarantineControl(name string, action weirv1.QuarantineAction) *cobra.Command {
	short, long, done := "Try an address again now", "Make the next request for an address now. If it fails too, the address stays set aside.", "%s is tried again"
	if action == weirv1.QuarantineAction_QUARANTINE_ACTION_DROP {
		short, done = "Give up what waits for an address", "what waits for %s is given up"
		long = "Give up the messages that wait for an address in quarantine: they become dead letters,\nwhere the pipeline has any. What comes later is delivered."
	}
	return &cobra.Command{
		Use: name + " ADDRESS", Short: short,
		Long:              long + "\nThe command is stored when it ends, and carried out in its turn among the messages.",
		Example:           "  weir function quarantine " + name + " com.example/greeter/ann",
		Args:              names("ADDRESS"),
		ValidArgsFunction: a.completeAddress,
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			address, err := functions.ParseAddress(args[0])
			if err != nil {
				return usageError(err, "weir function quarantine list shows who is there")
			}
			if _, err := c.functions.ControlQuarantine(cmd.Context(), connect.NewRequest(&weirv1.ControlQuarantineRequest{
				Namespace: a.namespace, Type: address.Type, Id: address.ID, Action: action,
			})); err != nil {
				return fmt.Errorf("%s %s: %w", name, args[0], err)
			}
			a.confirm(done, args[0])
			return nil
		}),
	}
}

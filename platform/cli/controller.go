package cli

import (
	"fmt"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

func (a *app) controllerCommand() *cobra.Command {
	return group("controller", "Controllers: the processes that hold the catalog",
		`Controllers keep the catalog by Raft: one, three or five of them. One leads; a
majority must be up for anything to change. Running pipelines go on meanwhile.`,
		a.controllerList(), a.controllerAdd(), a.controllerRemove())
}

func (a *app) controllerList() *cobra.Command {
	var o outputFormat
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List controllers, and which of them leads",
		Long:    "List the controllers as Raft knows them, with the addresses that they announced.",
		Example: "  weir controller list",
		Args:    names(),
		RunE: a.call(func(cmd *cobra.Command, c *clients, _ []string) error {
			r, err := c.workers.ListControllers(cmd.Context(), connect.NewRequest(&weirv1.ListControllersRequest{}))
			if err != nil {
				return fmt.Errorf("list controllers: %w", err)
			}
			if o == formatJSON {
				return printJSONList(a.env.Stdout, r.Msg.GetControllers())
			}
			t := newTable("ID", "ROLE", "RAFT", "URL", "VERSION")
			for _, m := range r.Msg.GetControllers() {
				role := "voter"
				switch {
				case m.GetLeads():
					role = "leader"
				case !m.GetVoter():
					role = "learner"
				}
				t.row(m.GetId(), role, m.GetRaftAddress(), m.GetUrl(), m.GetVersion())
			}
			return t.print(a.env.Stdout, a.out())
		}),
	}
	outputFlag(cmd, &o, formatTable, formatJSON)
	return cmd
}

func (a *app) controllerAdd() *cobra.Command {
	return &cobra.Command{
		Use: "add ID HOST:PORT", Short: "Make a waiting controller a voter",
		Long: `Make a controller a voter that was started with --raft-listen and --await-join on an
empty data folder, or change a voter's Raft address. It is caught up by itself.`,
		Example: "  weir controller add node-4 10.0.0.9:7080",
		Args:    names("ID", "HOST:PORT"),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			if _, err := c.workers.AddController(cmd.Context(), connect.NewRequest(&weirv1.AddControllerRequest{Id: args[0], RaftAddress: args[1]})); err != nil {
				return fmt.Errorf("add controller %q: %w", args[0], err)
			}
			a.confirm("controller %s at %s is a voter", args[0], args[1])
			return nil
		}),
	}
}

func (a *app) controllerRemove() *cobra.Command {
	return &cobra.Command{
		Use: "remove ID", Aliases: []string{"rm"}, Short: "Remove a controller from the voters",
		Long:    "Remove a controller, dead or alive. Two of three, or three of five, must be up for it.",
		Example: "  weir controller remove node-4",
		Args:    names("ID"),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			if _, err := c.workers.RemoveController(cmd.Context(), connect.NewRequest(&weirv1.RemoveControllerRequest{Id: args[0]})); err != nil {
				return fmt.Errorf("remove controller %q: %w", args[0], err)
			}
			a.confirm("controller %s is no voter any more", args[0])
			return nil
		}),
	}
}

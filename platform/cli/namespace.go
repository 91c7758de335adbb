package cli

import (
	"fmt"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

func (a *app) namespaceCommand() *cobra.Command {
	return group("namespace", "Namespaces: topics, modules and pipelines apart from others'",
		`A namespace holds topics, modules and pipelines. Names are unique within one. The
other commands say which by --namespace; the one named "default" is always there.`,
		a.namespaceCreate(), a.namespaceList(), a.namespaceLimit(), a.namespaceDelete())
}

func (a *app) namespaceCreate() *cobra.Command {
	return &cobra.Command{
		Use: "create NAME", Short: "Create a namespace",
		Long:    "Create a namespace. It is empty; other commands use it by --namespace NAME.",
		Example: "  weir namespace create team-a\n  weir topic create flights --namespace team-a",
		Args:    names("NAME"),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			if _, err := c.system.CreateNamespace(cmd.Context(), connect.NewRequest(&weirv1.CreateNamespaceRequest{Name: args[0]})); err != nil {
				return fmt.Errorf("create namespace %q: %w", args[0], err)
			}
			a.confirm("created namespace %s; use it by --namespace %s", args[0], args[0])
			return nil
		}),
	}
}

func (a *app) namespaceList() *cobra.Command {
	var o outputFormat
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List namespaces and how much they hold",
		Long: `List namespaces by name, with how many topics, modules and pipelines they hold, the
slots of pipelines that are to run, and the bytes of modules. Where there is a limit,
it stands behind a slash. Of memory and time of functions only the limits are shown: they
hold in each worker, and its metrics have what is used.`,
		Example: "  weir namespace list\n  weir namespace list -o json | jq -r '.[].name'",
		Args:    names(),
		RunE: a.call(func(cmd *cobra.Command, c *clients, _ []string) error {
			r, err := c.system.ListNamespaces(cmd.Context(), connect.NewRequest(&weirv1.ListNamespacesRequest{}))
			if err != nil {
				return fmt.Errorf("list namespaces: %w", err)
			}
			if o == formatJSON {
				return printJSONList(a.env.Stdout, r.Msg.GetNamespaces())
			}
			t := newTable("NAME", ">TOPICS", ">MODULES", ">PIPELINES", ">SLOTS", ">BYTES", ">MEMORY", ">GUEST TIME", "CREATED")
			for _, n := range r.Msg.GetNamespaces() {
				used, limit := n.GetUsed(), n.GetLimits()
				t.row(n.GetName(), fmt.Sprint(n.GetTopics()), ofLimit(n.GetModules(), limit.GetModules(), count), ofLimit(n.GetPipelines(), limit.GetPipelines(), count),
					ofLimit(used.GetSlots(), limit.GetSlots(), count), ofLimit(used.GetModuleBytes(), limit.GetModuleBytes(), size), orDash(limit.GetGuestMemory(), size), orDash(limit.GetGuestShare(), cpus), moment(n.GetCreated()))
			}
			return t.print(a.env.Stdout, a.out())
		}),
	}
	outputFlag(cmd, &o, formatTable, formatJSON)
	return cmd
}

func (a *app) namespaceDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME", Aliases: []string{"rm"}, Short: "Delete an empty namespace",
		Long:              "Delete a namespace. One that holds a topic, a module or a pipeline is refused.",
		Example:           "  weir namespace delete team-a",
		Args:              names("NAME"),
		ValidArgsFunction: a.completeName(namespaceNames),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			if _, err := c.system.DeleteNamespace(cmd.Context(), connect.NewRequest(&weirv1.DeleteNamespaceRequest{Name: args[0]})); err != nil {
				return fmt.Errorf("delete namespace %q: %w", args[0], err)
			}
			a.confirm("deleted namespace %s", args[0])
			return nil
		}),
	}
}

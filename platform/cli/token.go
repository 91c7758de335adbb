package cli

import (
	"fmt"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

var roles = []string{"admin", "deploy", "read", "worker"}

func (a *app) tokenCommand() *cobra.Command {
	return group("token", "Tokens: who may call",
		`A server that is started with --auth on wants a token with every call. A token has a
role, for one namespace or for all, and perhaps a time after which it is no good:

  read    looks at everything: lists, status, logs, records of topics
  deploy  what read may, and topics, modules, pipelines, publishing
  admin   what deploy may, and namespaces and tokens
  worker  joins a cluster as a worker, and nothing else

Commands take it from --token or WEIR_TOKEN.`,
		a.tokenCreate(), a.tokenList(), a.tokenRevoke())
}

func (a *app) tokenCreate() *cobra.Command {
	var role, label string
	var ttl time.Duration
	cmd := &cobra.Command{
		Use: "create --role ROLE", Short: "Make a token; it is shown this once",
		Long: `Make a token and print it to standard output. It is shown this once: the server keeps
only a hash of it. It is good in the namespace that --namespace or WEIR_NAMESPACE names,
in all of them without.`,
		Example: "  weir token create --role read --namespace team-a --ttl 720h\n  weir token create --role deploy --label ci > ci.token\n  weir token create --role worker",
		Args:    names(),
		RunE: a.call(func(cmd *cobra.Command, c *clients, _ []string) error {
			if role == "" {
				return usageError(fmt.Errorf("--role is missing"), "choose admin, deploy, read or worker; weir token --help says what each may")
			}
			if ttl < 0 {
				return usageError(fmt.Errorf("--ttl %s is below zero", ttl), "write it like --ttl 720h, or leave it out for a token that does not expire")
			}
			r, err := c.tokens.CreateToken(cmd.Context(), connect.NewRequest(&weirv1.CreateTokenRequest{
				Role: role, Namespace: a.namespaceGiven(cmd), TtlMs: ttl.Milliseconds(), Label: label,
			}))
			if err != nil {
				return fmt.Errorf("create token: %w", err)
			}
			fmt.Fprintln(a.env.Stdout, r.Msg.GetBearer())
			t := r.Msg.GetToken()
			a.confirm("created token %s: %s, %s, %s; it is not shown again", t.GetId(), t.GetRole(), reach(t), goodUntil(t))
			return nil
		}),
	}
	cmd.Flags().StringVar(&role, "role", "", "admin, deploy, read or worker")
	cmd.Flags().DurationVar(&ttl, "ttl", 0, "how long it is good, like 720h (default: for ever)")
	cmd.Flags().StringVar(&label, "label", "", "what it is for, shown in the list")
	must(cmd.RegisterFlagCompletionFunc("role", cobra.FixedCompletions(roles, cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

// namespaceGiven is the namespace if somebody named one; the default of other commands is none here.
func (a *app) namespaceGiven(cmd *cobra.Command) string {
	if cmd.Flags().Changed("namespace") || a.env.Getenv("WEIR_NAMESPACE") != "" {
		return a.namespace
	}
	return ""
}

func reach(t *weirv1.Token) string {
	if t.GetNamespace() == "" {
		return "all namespaces"
	}
	return "namespace " + t.GetNamespace()
}

func goodUntil(t *weirv1.Token) string {
	if t.GetExpires() == nil {
		return "for ever"
	}
	return "until " + moment(t.GetExpires())
}

func (a *app) tokenList() *cobra.Command {
	var o outputFormat
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List tokens",
		Long: `List tokens by id, without their secrets. Those that are revoked or expired stay in
the list for a while.`,
		Example: "  weir token list\n  weir token list -o json | jq -r '.[].id'",
		Args:    names(),
		RunE: a.call(func(cmd *cobra.Command, c *clients, _ []string) error {
			r, err := c.tokens.ListTokens(cmd.Context(), connect.NewRequest(&weirv1.ListTokensRequest{}))
			if err != nil {
				return fmt.Errorf("list tokens: %w", err)
			}
			if o == formatJSON {
				return printJSONList(a.env.Stdout, r.Msg.GetTokens())
			}
			t := newTable("ID", "ROLE", "NAMESPACE", "CREATED", "EXPIRES", "REVOKED", "LABEL")
			for _, k := range r.Msg.GetTokens() {
				t.row(k.GetId(), k.GetRole(), orDefault(k.GetNamespace(), "(all)"), moment(k.GetCreated()), moment(k.GetExpires()), moment(k.GetRevoked()), k.GetLabel())
			}
			return t.print(a.env.Stdout, a.out())
		}),
	}
	outputFlag(cmd, &o, formatTable, formatJSON)
	return cmd
}

func (a *app) tokenRevoke() *cobra.Command {
	return &cobra.Command{
		Use: "revoke ID", Short: "Take a token back",
		Long: `Take a token back, by its id, which stands between the underscores of the token. Calls
with it are refused from now on, and streams end with their next message.`,
		Example: "  weir token revoke k3v7q2mfxa",
		Args:    names("ID"),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			if _, err := c.tokens.RevokeToken(cmd.Context(), connect.NewRequest(&weirv1.RevokeTokenRequest{Id: args[0]})); err != nil {
				return fmt.Errorf("revoke token %q: %w", args[0], err)
			}
			a.confirm("revoked token %s", args[0])
			return nil
		}),
	}
}

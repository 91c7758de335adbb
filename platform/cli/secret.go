package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/auth/secrets"
)

func (a *app) secretCommand() *cobra.Command {
	return group("secret", "Secrets: values that pipelines use and nobody reads",
		`A secret is a value that a pipeline's sources and sinks need and nobody should read: a
password, a key. A pipeline file writes ${secret:NAME} in their options; the value takes
its place in memory when a task starts. It is kept encrypted, and no command shows it.`,
		a.secretSet(), a.secretList(), a.secretDelete())
}

func (a *app) secretSet() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "set NAME", Short: "Set a secret from standard input or a file",
		Long: `Set a secret, from standard input or a file; one line break at the end is left away.
The value is text of 4 bytes to 4 KiB. Pipelines that run keep the old value until their
tasks start again: weir pipeline stop, then resume.`,
		Example:           "  weir secret set db-password < password.txt\n  weir secret set api-key --file key.txt --namespace team-a\n  weir secret set db-password        # asks for it",
		Args:              names("NAME"),
		ValidArgsFunction: a.completeName(secretNames),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			value, err := a.secretValue(args[0], file)
			if err != nil {
				return err
			}
			if _, err := c.secrets.SetSecret(cmd.Context(), connect.NewRequest(&weirv1.SetSecretRequest{Namespace: a.namespace, Name: args[0], Value: value})); err != nil {
				return fmt.Errorf("set secret %q: %w", args[0], err)
			}
			a.confirm("set secret %s; a pipeline uses it as ${secret:%s}", args[0], args[0])
			return nil
		}),
	}
	cmd.Flags().StringVar(&file, "file", "-", "file with the value; - is standard input")
	return cmd
}

// secretValue reads a value; at a terminal it asks, and does not show what is typed.
func (a *app) secretValue(name, file string) ([]byte, error) {
	if in, ok := a.env.Stdin.(*os.File); file == "-" && ok && term.IsTerminal(int(in.Fd())) {
		fmt.Fprintf(a.env.Stderr, "value of %s: ", name)
		value, err := term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(a.env.Stderr)
		return value, err
	}
	from := a.env.Stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		from = f
	}
	const lineBreak = 2 // bytes, at most
	value, err := io.ReadAll(io.LimitReader(from, secrets.MaxValueBytes+lineBreak+1))
	if err != nil {
		return nil, fmt.Errorf("read the value: %w", err)
	}
	value = bytes.TrimSuffix(value, []byte("\n"))
	return bytes.TrimSuffix(value, []byte("\r")), nil
}

func (a *app) secretList() *cobra.Command {
	var o outputFormat
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List secrets, without their values",
		Long:    "List the secrets of a namespace by name, and when their values were set.",
		Example: "  weir secret list\n  weir secret list -o json | jq -r '.[].name'",
		Args:    names(),
		RunE: a.call(func(cmd *cobra.Command, c *clients, _ []string) error {
			r, err := c.secrets.ListSecrets(cmd.Context(), connect.NewRequest(&weirv1.ListSecretsRequest{Namespace: a.namespace}))
			if err != nil {
				return fmt.Errorf("list secrets: %w", err)
			}
			if o == formatJSON {
				return printJSONList(a.env.Stdout, r.Msg.GetSecrets())
			}
			t := newTable("NAME", "CREATED", "SET")
			for _, s := range r.Msg.GetSecrets() {
				t.row(s.GetName(), moment(s.GetCreated()), moment(s.GetSet()))
			}
			return t.print(a.env.Stdout, a.out())
		}),
	}
	outputFlag(cmd, &o, formatTable, formatJSON)
	return cmd
}

func (a *app) secretDelete() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME", Aliases: []string{"rm"}, Short: "Delete a secret",
		Long:              "Delete a secret. Pipelines that run and use it go on until their tasks start again; then\nthey fail, and name it.",
		Example:           "  weir secret delete db-password",
		Args:              names("NAME"),
		ValidArgsFunction: a.completeName(secretNames),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			if _, err := c.secrets.DeleteSecret(cmd.Context(), connect.NewRequest(&weirv1.DeleteSecretRequest{Namespace: a.namespace, Name: args[0]})); err != nil {
				return fmt.Errorf("delete secret %q: %w", args[0], err)
			}
			a.confirm("deleted secret %s", args[0])
			return nil
		}),
	}
}

func secretNames(ctx context.Context, c *clients, namespace string) ([]string, error) {
	r, err := c.secrets.ListSecrets(ctx, connect.NewRequest(&weirv1.ListSecretsRequest{Namespace: namespace}))
	if err != nil {
		return nil, err
	}
	var found []string
	for _, s := range r.Msg.GetSecrets() {
		found = append(found, s.GetName())
	}
	return found, nil
}

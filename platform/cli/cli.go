// Package cli is the command weir: what a person types, what a script reads.
// Client commands use nothing but the Connect API, and the format of backups to look
// into one. Commands that run something
// in this process (server, dev, run, test) hand plain options to the functions
// of a Local, which the main package fills in. It must not know how a server is
// built, nor any storage, log or sandbox behind it.
package cli

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/weirstream/weir/platform/auth/tlsfiles"
)

// Defaults of the flags that every client command shares.
const (
	DefaultServer    = "http://127.0.0.1:7070"
	DefaultNamespace = "default"
)

// Env is the world around the command; tests replace it whole.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Getenv reads an environment variable.
	Getenv func(string) string
	// OutTerminal and ErrTerminal say where a person reads: colours and
	// progress go only there.
	OutTerminal, ErrTerminal bool
	// Build describes the program itself.
	Build Build
	// Local runs what needs more than the API.
	Local Local
}

// Build is what `weir version` says of the client.
type Build struct {
	Version  string
	Revision string
	Go       string
}

// Process is the Env of this process.
func Process(build Build, local Local) Env {
	return Env{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv,
		OutTerminal: term.IsTerminal(int(os.Stdout.Fd())),
		ErrTerminal: term.IsTerminal(int(os.Stderr.Fd())),
		Build:       build, Local: local,
	}
}

// Main runs one command line, without the program's name, and returns the exit
// code. The context ends by a signal.
func Main(ctx context.Context, args []string, env Env) int {
	a := &app{env: env}
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return ExitOK
	}
	var told *failure
	if ctx.Err() != nil && !errors.As(err, &told) {
		return ExitInterrupted
	}
	var file *FileError
	if errors.As(err, &file) && !errors.As(err, &told) {
		text, _ := os.ReadFile(file.File) // without the text the problems are shown without their lines
		a.printProblems(file.File, text, file.Problems, refusal)
		return ExitRefused
	}
	f := explain(err)
	f.print(env.Stderr, a.colours(env.ErrTerminal))
	return f.exit
}

// app holds what the flags of the root say.
type app struct {
	env       Env
	server    string
	namespace string
	token     string
	tls       tlsfiles.Files
	noColor   bool
	quiet     bool
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "weir",
		Short: "Stateful streams of WebAssembly functions",
		Long: `Weir runs functions from WebAssembly modules over partitioned logs, keeps their
keyed state and timers, and gives exactly-once results through crashes.

Start a server, then let the other commands talk to it:

  weir server --data-dir ./weir-data
  weir topic create flights --partitions 8
  weir topic publish flights --file flights.jsonl --key origin
  weir module push alert.wasm
  weir pipeline apply pipeline.yaml
  weir topic read alerts --from start

Client commands find the server by --server, else by WEIR_SERVER, else at
` + DefaultServer + `. Exit codes: weir help exit-codes.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noSuchCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(a.env.Stdin)
	root.SetOut(a.env.Stdout)
	root.SetErr(a.env.Stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError(err, "see: %s --help", cmd.CommandPath())
	})
	flags := root.PersistentFlags()
	flags.StringVar(&a.server, "server", orDefault(a.env.Getenv("WEIR_SERVER"), DefaultServer), "URL of the server (or WEIR_SERVER)")
	flags.StringVar(&a.namespace, "namespace", orDefault(a.env.Getenv("WEIR_NAMESPACE"), DefaultNamespace), "namespace of topics, modules and pipelines (or WEIR_NAMESPACE)")
	flags.StringVar(&a.token, "token", "", "token of the caller (or WEIR_TOKEN, which other users of this machine do not see)")
	flags.StringVar(&a.tls.CA, "tls-ca", a.env.Getenv("WEIR_TLS_CA"), "PEM file of the authorities to trust instead of the system's (or WEIR_TLS_CA)")
	flags.StringVar(&a.tls.Cert, "tls-cert", a.env.Getenv("WEIR_TLS_CERT"), "PEM file of the caller's certificate, if the server wants one (or WEIR_TLS_CERT)")
	flags.StringVar(&a.tls.Key, "tls-key", a.env.Getenv("WEIR_TLS_KEY"), "PEM file of its key (or WEIR_TLS_KEY)")
	must(root.RegisterFlagCompletionFunc("namespace", a.completeFlag(namespaceNames)))
	flags.BoolVar(&a.noColor, "no-color", false, "no colours (or NO_COLOR)")
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "only results and errors: no progress, no confirmations")

	root.AddGroup(
		&cobra.Group{ID: groupRun, Title: "Run:"},
		&cobra.Group{ID: groupManage, Title: "Manage:"},
		&cobra.Group{ID: groupLook, Title: "Look:"},
	)
	root.SetHelpCommandGroupID(groupLook)
	root.SetCompletionCommandGroupID(groupLook)
	for _, group := range []struct {
		id       string
		commands []*cobra.Command
	}{
		{groupRun, []*cobra.Command{a.serverCommand(), a.workerCommand(), a.devCommand(), a.runCommand(), a.testCommand(), a.initCommand()}},
		{groupManage, []*cobra.Command{a.topicCommand(), a.moduleCommand(), a.pipelineCommand(), a.checkpointCommand(), a.savepointCommand(), a.backupCommand(), a.stateCommand(), a.functionCommand(), a.statefunCommand(), a.deadLetterCommand(), a.namespaceCommand(), a.tokenCommand(), a.secretCommand(), a.controllerCommand()}},
		{groupLook, []*cobra.Command{a.auditCommand(), a.doctorCommand(), a.versionCommand()}},
	} {
		for _, c := range group.commands {
			c.GroupID = group.id
			root.AddCommand(c)
		}
	}
	root.AddCommand(exitCodesTopic())
	return root
}

// Groups of commands in `weir help`.
const (
	groupRun    = "run"
	groupManage = "manage"
	groupLook   = "look"
)

// group is a command that only holds others.
func group(use, short, long string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Long: long,
		Args: noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(commands...)
	return c
}

// suggestWithin is the number of typing mistakes over which a command's name is
// still recognised.
const suggestWithin = 2

// noSuchCommand refuses an argument where a command's name is wanted, and names
// the nearest.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := "see: " + cmd.CommandPath() + " --help"
	cmd.SuggestionsMinimumDistance = suggestWithin
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "did you mean: " + cmd.CommandPath() + " " + near[0]
	}
	return usageError(errors.New("unknown command "+quote(args[0])+" for "+quote(cmd.CommandPath())), "%s", hint)
}

// colours says whether a stream of the Env gets escape codes.
func (a *app) colours(terminal bool) bool {
	return terminal && !a.noColor && a.env.Getenv("NO_COLOR") == "" && a.env.Getenv("TERM") != "dumb"
}

func orDefault(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

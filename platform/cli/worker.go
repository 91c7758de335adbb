package cli

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/auth"
)

func (a *app) workerCommand() *cobra.Command {
	o := WorkerOptions{Log: a.env.Stderr}
	mode := ""
	cmd := &cobra.Command{
		Use:   "worker --join URL",
		Short: "Run a worker, or look after those that run",
		Long: `Run a worker: a process that takes tasks of pipelines from the controllers it joins.
It keeps nothing but caches; log, objects and catalog are reached through the
controllers. Workers of one job exchange records with each other directly.

Ctrl-C leaves in order: the tasks move to other workers at a checkpoint if there is
room, and the process ends when it holds none. A second Ctrl-C ends it at once; so
does kill -9, and nothing is lost by either: the jobs restart elsewhere from their
last checkpoint.`,
		Example: `  weir worker --join http://127.0.0.1:7070 --slots 4
  weir worker --join http://10.0.0.5:7070,http://10.0.0.6:7070 --listen 10.0.0.9:7071 --auth on --plain-http
  weir worker list
  weir worker drain worker-node-1`,
		Args: noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(o.Join) == 0 {
				return usageError(errors.New("--join is missing"), "name a controller: weir worker --join %s", DefaultServer)
			}
			if a.env.Local.RunWorker == nil {
				return errNotBuiltIn(cmd)
			}
			if o.Slots < 0 {
				return usageError(fmt.Errorf("--slots %d", o.Slots), "write a number from 1 on")
			}
			o.Auth = auth.Mode(mode)
			if _, err := (auth.Protection{Listen: o.Listen, Mode: o.Auth, TLS: o.TLS.Cert != "", PlainHTTP: o.PlainHTTP}).Decide(); err != nil {
				return explain(err).as(ExitUsage)
			}
			o.Trust, o.Token = a.tls.CA, a.bearerToken()
			o.Ready = func(id, url string, slots int) {
				fmt.Fprintf(a.env.Stdout, "weir worker %s is ready at %s with %d slots\n", id, url, slots)
			}
			o.Draining = func(jobs int) {
				if !a.quiet {
					fmt.Fprintf(a.env.Stderr, "leaving: %d jobs still have tasks here; Ctrl-C again to leave at once\n", jobs)
				}
			}
			// The first signal has been taken by the context; a second one ends the wait.
			abandon := make(chan struct{})
			o.Abandon = abandon
			context.AfterFunc(cmd.Context(), func() {
				again, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
				defer stop()
				<-again.Done()
				close(abandon)
			})
			return asked(cmd.Context(), a.env.Local.RunWorker(cmd.Context(), o))
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.Join, "join", nil, "URL of a controller; several are tried in turn")
	f.IntVar(&o.Slots, "slots", 0, "tasks of a stage that may run here (0: as many as there are processors, 4 at least)")
	f.StringVar(&o.ID, "id", "", "who it is across restarts (default: made from the machine's name)")
	f.StringVar(&o.DataDir, "data-dir", "", "folder for caches (default: a free one among the user's caches)")
	f.StringVar(&o.Listen, "listen", "127.0.0.1:0", "address for other workers, metrics and health; port 0 picks a free one")
	f.StringVar(&o.Advertise, "advertise", "", "HOST:PORT where other processes reach --listen (default: the same)")
	f.StringVar(&mode, "auth", "", "on: whoever connects needs a token of the cluster; off: none, on loopback only (default: off on loopback)")
	f.BoolVar(&o.PlainHTTP, "plain-http", false, "be open to the network without TLS, where only the cluster reaches")
	f.StringVar(&o.TLS.Cert, "tls-cert", "", "PEM file of the worker's certificate, for its port and to show to others")
	f.StringVar(&o.TLS.Key, "tls-key", "", "PEM file of its key")
	f.StringVar(&o.TLS.CA, "tls-client-ca", "", "PEM file of authorities: whoever connects has to show a certificate of one of them")
	f.StringVar(&o.NATSURL, "nats", "", "URL of the log's NATS, if it is another than the controllers say")
	f.DurationVar(&o.Patience, "drain-timeout", 30*time.Second, "how long leaving waits for others to take the tasks over")
	f.IntVar(&o.EagerMiB, "eager-restore", DefaultEagerMiB, "MiB of an operator's state up to which a task loads it before it reads")
	f.IntVar(&o.StateMiB, "state-memory", DefaultStateMiB, "MiB of memory for the state of all pipelines that keep it on disk, at least 16")
	f.StringVar(&o.LogLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&o.LogFormat, "log-format", "text", "text or json")
	must(cmd.MarkFlagDirname("data-dir"))
	cmd.AddCommand(a.workerList(), a.workerDrain())
	return cmd
}

func (a *app) workerList() *cobra.Command {
	var o outputFormat
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List workers and what they hold",
		Long:    "List the workers of the cluster: slots, what uses them, and whether they are\nconnected or give their tasks up.",
		Example: "  weir worker list\n  weir worker list -o json | jq -r '.[] | select(.draining) | .id'",
		Args:    names(),
		RunE: a.call(func(cmd *cobra.Command, c *clients, _ []string) error {
			r, err := c.workers.ListWorkers(cmd.Context(), connect.NewRequest(&weirv1.ListWorkersRequest{}))
			if err != nil {
				return fmt.Errorf("list workers: %w", err)
			}
			if o == formatJSON {
				return printJSONList(a.env.Stdout, r.Msg.GetWorkers())
			}
			t := newTable("ID", "STATE", ">SLOTS", ">USED", "ADDRESS", "MACHINE", "VERSION", "PIPELINES")
			for _, w := range r.Msg.GetWorkers() {
				t.row(w.GetId(), workerState(w), fmt.Sprint(w.GetSlots()), fmt.Sprint(w.GetUsed()), w.GetAddress(), w.GetNode(), w.GetVersion(), strings.Join(w.GetPipelines(), " "))
			}
			return t.print(a.env.Stdout, a.out())
		}),
	}
	outputFlag(cmd, &o, formatTable, formatJSON)
	return cmd
}

func workerState(w *weirv1.Worker) string {
	switch {
	case !w.GetConnected():
		return "silent"
	case w.GetDraining():
		return "draining"
	}
	return "connected"
}

func (a *app) workerDrain() *cobra.Command {
	return &cobra.Command{
		Use: "drain ID", Short: "Give a worker's tasks to others",
		Long: `Give a worker's tasks to others, each job at a checkpoint of its own, as soon as
there is room elsewhere. No new tasks are placed on the worker; it stays connected
until its process ends, and takes tasks again when it joins anew.`,
		Example:           "  weir worker drain worker-node-1",
		Args:              names("ID"),
		ValidArgsFunction: a.completeName(workerNames),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			r, err := c.workers.DrainWorker(cmd.Context(), connect.NewRequest(&weirv1.DrainWorkerRequest{Id: args[0]}))
			if err != nil {
				return fmt.Errorf("drain worker %q: %w", args[0], err)
			}
			a.confirm("worker %s takes no more tasks; it holds %d slots still: weir worker list", args[0], r.Msg.GetWorker().GetUsed())
			return nil
		}),
	}
}

package cli

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/spf13/cobra"
)

// errNotBuiltIn refuses a command whose function the program was built without.
func errNotBuiltIn(cmd *cobra.Command) error {
	return fail(ExitFailure, fmt.Errorf("this build of weir has no %q", cmd.Name()), "use a full build of weir: go tool task build")
}

func (a *app) serverCommand() *cobra.Command {
	o := ServerOptions{Log: a.env.Stderr}
	durability := string(Interval)
	cmd := &cobra.Command{
		Use:   "server --data-dir DIR",
		Short: "Run a server: API, log, state and workers in one process",
		Long: `Run a server: API, log, state and workers in one process. Everything it keeps is
in the data folder; the same folder may be started again after any end.

It prints one line to standard output when it is ready, and logs to standard error.
Ctrl-C stops it in order; kill -9 loses nothing that was acknowledged.

Durability "interval" syncs the log every 100 ms: a killed process loses nothing, a
power cut at most that much. "strict" syncs always.

There is no authentication: whoever reaches its ports can do everything. Keep them on
loopback, or put a proxy before them that authenticates.`,
		Example: `  weir server --data-dir ./weir-data
  weir server --data-dir /var/lib/weir --listen 127.0.0.1:7070 --durability strict
  weir server --data-dir ./weir-data --nats-listen 127.0.0.1:4222`,
		Args: names(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.env.Local.RunServer == nil {
				return errNotBuiltIn(cmd)
			}
			switch o.Durability = Durability(durability); o.Durability {
			case Interval, Strict:
			default:
				return usageError(fmt.Errorf("unknown durability %q", durability), "write --durability interval or --durability strict")
			}
			if o.DataDir == "" {
				return usageError(errors.New("--data-dir is missing"), "name a folder: weir server --data-dir ./weir-data")
			}
			for _, p := range o.RaftPeers {
				if _, _, ok := strings.Cut(p, "="); !ok {
					return usageError(fmt.Errorf("raft peer %q has no id", p), "write --peers ID=HOST:PORT,...")
				}
			}
			for _, port := range []struct{ flag, address string }{{"--listen", o.Listen}, {"--nats-listen", o.NATSListen}, {"--raft-listen", o.RaftListen}} {
				if exposed(port.address) {
					fmt.Fprintf(a.env.Stderr, "%s %s %s is open to the network, and this version has no authentication: anyone who reaches it can do everything; use loopback, or a proxy that authenticates\n",
						a.errs().yellow("warning:"), port.flag, port.address)
				}
			}
			o.Ready = func(url string) {
				fmt.Fprintf(a.env.Stdout, "weir is ready at %s\n", url)
			}
			return asked(cmd.Context(), a.env.Local.RunServer(cmd.Context(), o))
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.DataDir, "data-dir", "", "folder that holds everything")
	f.StringVar(&o.Listen, "listen", "127.0.0.1:7070", "address of the API; port 0 picks a free one")
	f.StringVar(&durability, "durability", durability, "interval or strict")
	f.StringVar(&o.NATSURL, "nats", "", "URL of an outside NATS instead of the embedded one")
	f.StringVar(&o.NATSListen, "nats-listen", "", "address where the embedded NATS takes plain clients (default: none)")
	f.StringVar(&o.BlobURL, "blob", "", "URL of object storage for state (default: a folder in the data folder)")
	f.StringVar(&o.NodeID, "node-id", "", "name of this node among the voters (default: node-1)")
	f.StringVar(&o.RaftListen, "raft-listen", "", "address for the other voters; needed with --peers")
	f.StringSliceVar(&o.RaftPeers, "peers", nil, "ID=HOST:PORT of every voter, this one included; three or five, comma-separated")
	f.IntVar(&o.Slots, "slots", 0, "tasks of a stage that may run here (0: 64)")
	f.StringVar(&o.LogLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&o.LogFormat, "log-format", "text", "text or json")
	must(cmd.MarkFlagDirname("data-dir"))
	return cmd
}

// exposed tells whether others than this machine may reach an address.
func exposed(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil || host == "localhost" {
		return false // the server refuses what is no address
	}
	ip := net.ParseIP(host) // none: a name, or every interface
	return ip == nil || !ip.IsLoopback()
}

// must reports a mistake in this package's own tables.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

package cli

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirstream/weir/platform/auth"
)

// errNotBuiltIn refuses a command whose function the program was built without.
func errNotBuiltIn(cmd *cobra.Command) error {
	return fail(ExitFailure, fmt.Errorf("this build of weir has no %q", cmd.Name()), "use a full build of weir: go tool task build")
}

func (a *app) serverCommand() *cobra.Command {
	o := ServerOptions{Log: a.env.Stderr}
	durability, mode := string(Interval), ""
	cmd := &cobra.Command{
		Use:   "server --data-dir DIR",
		Short: "Run a server: API, log, state and workers in one process",
		Long: `Run a server: API, log, state and workers in one process. Everything it keeps is
in the data folder; the same folder may be started again after any end.

By --role it does a part: a controller keeps the catalog, decides and answers the API,
a gateway only passes calls on to the controllers that --join names, a worker runs
tasks. More workers, here or on other machines: weir worker.

It prints one line to standard output when it is ready, and logs to standard error.
Ctrl-C stops it in order; kill -9 loses nothing that was acknowledged.

Durability "interval" syncs the log every 100 ms: a killed process loses nothing, a
power cut at most that much. "strict" syncs always.

On loopback it asks nobody who they are, unless --auth on. Elsewhere it wants --auth on,
and does not start without: every call then needs a token (weir token). The first one is
written to admin.token in the data folder. The port of NATS asks for none, and that of
Raft for a certificate with --tls-client-ca.`,
		Example: `  weir server --data-dir ./weir-data
  weir server --data-dir /var/lib/weir --listen 127.0.0.1:7070 --durability strict
  weir server --data-dir ./weir-data --nats-listen 127.0.0.1:4222
  weir server --data-dir ./weir-data --role controller,gateway
  weir server --data-dir /var/lib/weir --listen 0.0.0.0:7070 --auth on --tls-cert cert.pem --tls-key key.pem`,
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
			if err := peersOf(&o); err != nil {
				return err
			}
			o.Auth = auth.Mode(mode)
			if _, err := (auth.Protection{Listen: o.Listen, Mode: o.Auth, TLS: o.TLS.Cert != "", PlainHTTP: o.PlainHTTP}).Decide(); err != nil {
				return explain(err).as(ExitUsage)
			}
			for _, port := range []struct{ flag, address string }{{"--nats-listen", o.NATSListen}, {"--raft-listen", o.RaftListen}} {
				if auth.Exposed(port.address) && (port.flag != "--raft-listen" || o.TLS.CA == "") {
					fmt.Fprintf(a.env.Stderr, "%s %s %s is open to the network, and that port has no authentication: anyone who reaches it can do everything; use loopback, or a network that only these servers share\n",
						a.errs().yellow("warning:"), port.flag, port.address)
				}
			}
			o.Trust, o.Token = a.tls.CA, a.bearerToken()
			o.Ready = func(url string) {
				fmt.Fprintf(a.env.Stdout, "weir is ready at %s\n", url)
			}
			return asked(cmd.Context(), a.env.Local.RunServer(cmd.Context(), o))
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.DataDir, "data-dir", "", "folder that holds everything")
	f.StringVar(&o.Listen, "listen", "127.0.0.1:7070", "address of the API; port 0 picks a free one")
	f.StringVar(&mode, "auth", "", "on: every call needs a token; off: none does, on loopback only (default: off on loopback)")
	f.StringVar(&o.TLS.Cert, "tls-cert", "", "PEM file of the server's certificate, and those that lead to its authority; with it the API speaks TLS")
	f.StringVar(&o.TLS.Key, "tls-key", "", "PEM file of its key")
	f.StringVar(&o.TLS.CA, "tls-client-ca", "", "PEM file of authorities: every caller, and every other voter, has to show a certificate of one of them")
	f.StringVar(&o.SecretsKey, "secrets-key-file", "", "file with the key of secrets, 32 bytes in base64, the same for all controllers (default: secrets.key in the data folder, made when it is needed)")
	f.BoolVar(&o.PlainHTTP, "plain-http", false, "be open to the network without TLS, behind a proxy that has it")
	f.StringVar(&durability, "durability", durability, "interval or strict")
	f.StringVar(&o.NATSURL, "nats", "", "URL of an outside NATS instead of the embedded one")
	f.StringVar(&o.NATSListen, "nats-listen", "", "address where the embedded NATS takes plain clients (default: none)")
	f.StringVar(&o.BlobURL, "blob", "", "where state is kept: s3://BUCKET/PREFIX?region=NAME, gs://, azblob://, file:///FOLDER (default: a folder in the data folder)")
	f.StringSliceVar(&o.Roles, "role", nil, "controller, gateway, worker, comma-separated (default: all)")
	f.StringSliceVar(&o.Join, "join", nil, "URLs of controllers, for a server that is none")
	f.StringVar(&o.Advertise, "advertise", "", "HOST:PORT where other processes reach --listen (default: the same)")
	f.StringVar(&o.NodeID, "node-id", "", "name of this node among the voters (default: node-1)")
	f.StringVar(&o.RaftListen, "raft-listen", "", "address for the other voters; needed with --peers")
	f.BoolVar(&o.AwaitJoin, "await-join", false, "begin as a controller that waits for: weir controller add")
	f.StringSliceVar(&o.RaftPeers, "peers", nil, "HOST:PORT or ID=HOST:PORT of every controller's --raft-listen, this one included; three or five, comma-separated")
	f.IntVar(&o.Slots, "slots", 0, "tasks of a stage that may run here (0: 64)")
	f.IntVar(&o.EagerMiB, "eager-restore", DefaultEagerMiB, "MiB of an operator's state up to which a task loads it before it reads; more is loaded while it is used")
	f.IntVar(&o.StateMiB, "state-memory", DefaultStateMiB, "MiB of memory for the state of all pipelines that keep it on disk, at least 16")
	f.StringVar(&o.LogLevel, "log-level", "info", "debug, info, warn or error")
	f.StringVar(&o.LogFormat, "log-format", "text", "text or json")
	must(cmd.MarkFlagDirname("data-dir"))
	return cmd
}

// peersOf gives controllers without an id one made from their address, and this
// one the address and id that it has among them.
func peersOf(o *ServerOptions) error {
	for i, p := range o.RaftPeers {
		id, address, named := strings.Cut(p, "=")
		if !named {
			id, address = "node-"+nodeName.ReplaceAllString(p, "-"), p
		}
		if _, _, err := net.SplitHostPort(address); err != nil || id == "" {
			return usageError(fmt.Errorf("peer %q is no HOST:PORT or ID=HOST:PORT", p), "write --peers HOST:PORT,HOST:PORT,HOST:PORT: the --raft-listen of every controller")
		}
		o.RaftPeers[i] = id + "=" + address
		if !named && address == o.RaftListen && o.NodeID == "" {
			o.NodeID = id
		}
	}
	return nil
}

// nodeName matches what no name may have.
var nodeName = regexp.MustCompile(`[^A-Za-z0-9_]+`)

// must reports a mistake in this package's own tables.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

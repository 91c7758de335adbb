package cli

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/weirstream/weir/platform/api/weir/v1/weirv1connect"
)

// dialTimeout bounds how long a silent address is waited for.
const dialTimeout = 5 * time.Second

// clients are the API's services at one server.
type clients struct {
	url       string
	topics    weirv1connect.TopicServiceClient
	modules   weirv1connect.ModuleServiceClient
	pipelines weirv1connect.PipelineServiceClient
	system    weirv1connect.SystemServiceClient
	tokens    weirv1connect.TokenServiceClient
}

// connect makes the clients; nothing is dialled yet.
func (a *app) connect() (*clients, error) {
	base := a.server
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, usageError(fmt.Errorf("server address %q is not a URL", a.server), "write it like %s", DefaultServer)
	}
	base = strings.TrimSuffix(u.String(), "/")
	httpc := &http.Client{Transport: &bearer{
		token: strings.TrimSpace(orDefault(a.token, a.env.Getenv("WEIR_TOKEN"))),
		next: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
			TLSHandshakeTimeout: dialTimeout,
			ForceAttemptHTTP2:   true,
		},
	}}
	opts := []connect.ClientOption{connect.WithHTTPGet()}
	return &clients{
		url:       base,
		topics:    weirv1connect.NewTopicServiceClient(httpc, base, opts...),
		modules:   weirv1connect.NewModuleServiceClient(httpc, base, opts...),
		pipelines: weirv1connect.NewPipelineServiceClient(httpc, base, opts...),
		system:    weirv1connect.NewSystemServiceClient(httpc, base, opts...),
		tokens:    weirv1connect.NewTokenServiceClient(httpc, base, opts...),
	}, nil
}

// bearer sends the token with every request.
type bearer struct {
	token string
	next  http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (b *bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.token != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+b.token)
	}
	return b.next.RoundTrip(r)
}

// command is the body of a client command.
type command func(cmd *cobra.Command, c *clients, args []string) error

// call makes a cobra body of one that needs the clients.
func (a *app) call(do command) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := a.connect()
		if err != nil {
			return err
		}
		return c.reachable(do(cmd, c, args))
	}
}

// reachable names the address if no server answers there.
func (c *clients) reachable(err error) error {
	if err == nil || !notReached(err) {
		return err
	}
	var f *failure
	if errors.As(err, &f) {
		return err // it says more already
	}
	return fail(ExitUnreachable, fmt.Errorf("no server answers at %s", c.url),
		"start one with: weir server --data-dir DIR, or name another with --server URL or WEIR_SERVER")
}

// confirm says on standard error what was done, unless -q.
func (a *app) confirm(text string, args ...any) {
	if !a.quiet {
		fmt.Fprintf(a.env.Stderr, text+"\n", args...)
	}
}

// out is the paint of standard output.
func (a *app) out() paint { return paint(a.colours(a.env.OutTerminal)) }

// errs is the paint of standard error.
func (a *app) errs() paint { return paint(a.colours(a.env.ErrTerminal)) }

// names wants exactly these arguments, which are named in the refusal.
func names(want ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == len(want) {
			return nil
		}
		if len(args) < len(want) {
			return usageError(fmt.Errorf("%s is missing", want[len(args)]), "usage: %s", cmd.UseLine())
		}
		return usageError(fmt.Errorf("unexpected argument %q", args[len(want)]), "usage: %s", cmd.UseLine())
	}
}

// atMostOne takes one argument or none.
func atMostOne(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usageError(fmt.Errorf("unexpected argument %q", args[1]), "usage: %s", cmd.UseLine())
	}
	return nil
}

package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/weirstream/weir/platform/api/weir/v1/weirv1connect"
	"github.com/weirstream/weir/platform/auth/tlsfiles"
)

// dialTimeout bounds how long a silent address is waited for.
const dialTimeout = 5 * time.Second

// maxNoticeBytes bounds what is read of an answer that is no answer of the API.
const maxNoticeBytes = 4 << 10

// clients are the API's services at one server.
type clients struct {
	url        string
	tls        *tlsfiles.Keeper // nil over plain HTTP
	topics     weirv1connect.TopicServiceClient
	modules    weirv1connect.ModuleServiceClient
	pipelines  weirv1connect.PipelineServiceClient
	savepoints weirv1connect.SavepointServiceClient
	backups    weirv1connect.BackupServiceClient
	state      weirv1connect.StateServiceClient
	functions  weirv1connect.FunctionServiceClient
	system     weirv1connect.SystemServiceClient
	tokens     weirv1connect.TokenServiceClient
	workers    weirv1connect.WorkerServiceClient
	secrets    weirv1connect.SecretServiceClient
	audit      weirv1connect.AuditServiceClient
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
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSHandshakeTimeout: dialTimeout,
		ForceAttemptHTTP2:   true,
	}
	var keeper *tlsfiles.Keeper
	if u.Scheme == "https" {
		if keeper, err = tlsfiles.Open(a.tls, nil); err != nil {
			return nil, usageError(err, "see --tls-ca, --tls-cert and --tls-key, and WEIR_TLS_CA, WEIR_TLS_CERT and WEIR_TLS_KEY")
		}
		transport.TLSClientConfig = keeper.ClientConfig()
	}
	httpc := &http.Client{Transport: &bearer{token: a.bearerToken(), next: transport}}
	opts := []connect.ClientOption{connect.WithHTTPGet()}
	return &clients{
		url:        base,
		tls:        keeper,
		topics:     weirv1connect.NewTopicServiceClient(httpc, base, opts...),
		modules:    weirv1connect.NewModuleServiceClient(httpc, base, opts...),
		pipelines:  weirv1connect.NewPipelineServiceClient(httpc, base, opts...),
		savepoints: weirv1connect.NewSavepointServiceClient(httpc, base, opts...),
		backups:    weirv1connect.NewBackupServiceClient(httpc, base, opts...),
		state:      weirv1connect.NewStateServiceClient(httpc, base, opts...),
		functions:  weirv1connect.NewFunctionServiceClient(httpc, base, opts...),
		system:     weirv1connect.NewSystemServiceClient(httpc, base, opts...),
		secrets:    weirv1connect.NewSecretServiceClient(httpc, base, opts...),
		tokens:     weirv1connect.NewTokenServiceClient(httpc, base, opts...),
		workers:    weirv1connect.NewWorkerServiceClient(httpc, base, opts...),
		audit:      weirv1connect.NewAuditServiceClient(httpc, base, opts...),
	}, nil
}

// bearerToken is the caller's token, if there is one.
func (a *app) bearerToken() string {
	return strings.TrimSpace(orDefault(a.token, a.env.Getenv("WEIR_TOKEN")))
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
	answer, err := b.next.RoundTrip(r)
	if err == nil && answer.StatusCode == http.StatusBadRequest && r.URL.Scheme == "http" && answer.ProtoMinor == 0 {
		// Go's servers answer so to a call without TLS; nothing else of ours speaks HTTP 1.0.
		text, _ := io.ReadAll(io.LimitReader(answer.Body, maxNoticeBytes))
		_ = answer.Body.Close()
		if strings.Contains(string(text), "HTTP request to an HTTPS server") {
			return nil, tlsfiles.SpeaksTLS(r.URL.Host)
		}
		answer.Body = io.NopCloser(bytes.NewReader(text))
	}
	return answer, err
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
		return c.reachable(cmd.Context(), do(cmd, c, args))
	}
}

// reachable names the address if no server answers there.
func (c *clients) reachable(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if p := c.insecure(ctx, err); p != nil {
		return fail(ExitDenied, p, "%s", p.Hint())
	}
	if !notReached(err) {
		return err
	}
	var f *failure
	if errors.As(err, &f) {
		return err // it says more already
	}
	return fail(ExitUnreachable, fmt.Errorf("no server answers at %s", c.url),
		"start one with: weir server --data-dir DIR, or name another with --server URL or WEIR_SERVER")
}

// insecure finds out whether the two sides could not agree on TLS.
func (c *clients) insecure(ctx context.Context, err error) *tlsfiles.Problem {
	var known *tlsfiles.Problem
	if errors.As(err, &known) {
		return known
	}
	u, bad := url.Parse(c.url)
	if c.tls == nil || bad != nil || connect.IsWireError(err) || isFailure(err) {
		return nil // the server has answered, or the command knows better
	}
	address := u.Host
	if u.Port() == "" {
		address = net.JoinHostPort(u.Hostname(), "443")
	}
	return c.tls.Why(ctx, address, err)
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

package statefunfile

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/weirstream/weir/platform/functions"
	"github.com/weirstream/weir/platform/planner/pipelinefile"
	"github.com/weirstream/weir/platform/statefun/endpoint"
)

// StateFun's two clients, which differ in what they wait for. A v1 endpoint has
// the first, a v2 endpoint that names none the second.
const (
	transportBlocking = "io.statefun.transports.v1/okhttp"
	transportAsync    = "io.statefun.transports.v1/async"
)

// The async client's own times, where its fields stand bare; in a mapping of
// timeouts those of the other count, which are Weir's too.
const (
	asyncCall    = "2m"
	asyncConnect = "20s"
	nestedCall   = "1m"
)

// maxBatch is the most that a pipeline's file may say.
const maxBatch = 100_000

// endpoint1 reads a server of functions.
func (c *converter) endpoint1(n *yaml.Node) {
	r := remote{}
	known := c.endpoint(&r)
	known["timeouts"] = func(v *yaml.Node) { c.fields(v, "timeouts", lenient, c.timeouts(&r)) }
	c.fields(n, "an endpoint", lenient, known)
	c.addRemote(n, r)
}

// endpoint2 reads one whose client can be chosen.
func (c *converter) endpoint2(n *yaml.Node) {
	r, kind, nested := remote{}, transportAsync, false
	transport := c.timeouts(&r)
	transport["type"] = func(v *yaml.Node) {
		if kind = c.text(v); kind != transportBlocking && kind != transportAsync {
			c.problem(v, pipelinefile.Suggest(kind, []string{transportBlocking, transportAsync}), "unknown transport %q", kind)
		}
	}
	transport["timeouts"] = func(v *yaml.Node) { nested = true; c.fields(v, "timeouts", lenient, c.timeouts(&r)) }
	transport["trust_cacerts"] = func(v *yaml.Node) { r.TLS.CA = c.path(v) }
	transport["client_cert"] = func(v *yaml.Node) { r.TLS.Cert = c.path(v) }
	transport["client_key"] = func(v *yaml.Node) { r.TLS.Key = c.path(v) }
	transport["client_key_password"] = func(v *yaml.Node) {
		c.problem(v, "write the key without one into a file of its own: openssl pkcs8 -in KEY -out KEY.plain", "keys with a password are not read")
	}
	ignored := func(what, instead string) func(*yaml.Node) {
		return func(v *yaml.Node) { c.warn(v, instead, "%s of the transport is left out", what) }
	}
	transport["pool_size"] = ignored("pool_size", "max_in_flight of the pipeline's file bounds requests, and connections with them")
	transport["pool_ttl"] = ignored("pool_ttl", "a connection that nothing needs is given up after a minute")
	transport["payload_max_bytes"] = ignored("payload_max_bytes", "requests have about 4 MiB at most, and answers 16 MiB")
	known := c.endpoint(&r)
	known["transport"] = func(v *yaml.Node) { c.fields(v, "transport", lenient, transport) }
	c.fields(n, "an endpoint", lenient, known)
	if kind == transportAsync {
		r.asAsync(nested)
	}
	c.addRemote(n, r)
}

// asAsync gives a server the time that the async client does: it knows no time to
// read or to write, so a function may be as slow as a whole call may.
func (r *remote) asAsync(nested bool) {
	call, connect := asyncCall, asyncConnect
	if nested {
		call, connect = nestedCall, ""
	}
	for _, f := range []struct {
		field     *string
		otherwise string
	}{{&r.CallTimeout, call}, {&r.ConnectTimeout, connect}} {
		if *f.field == "" {
			*f.field = f.otherwise
		}
	}
	for _, f := range []*string{&r.WriteTimeout, &r.ReadTimeout} {
		if *f == "" {
			*f = r.CallTimeout
		}
	}
}

func (c *converter) endpoint(r *remote) table {
	return table{
		"functions": func(v *yaml.Node) {
			pattern := c.text(v)
			if err := functions.CheckPattern(pattern); err != nil && pattern != "" {
				c.problem(v, "", "%v", err)
			}
			c.once(v, "functions", pattern)
			r.Types = []string{pattern}
		},
		"urlPathTemplate":     func(v *yaml.Node) { r.URL, r.at = c.text(v), v },
		"maxNumBatchRequests": func(v *yaml.Node) { r.MaxBatch = c.count(v, maxBatch) },
	}
}

func (c *converter) timeouts(r *remote) table {
	return table{
		"call":    func(v *yaml.Node) { r.CallTimeout = c.duration(v) },
		"connect": func(v *yaml.Node) { r.ConnectTimeout = c.duration(v) },
		"write":   func(v *yaml.Node) { r.WriteTimeout = c.duration(v) },
		"read":    func(v *yaml.Node) { r.ReadTimeout = c.duration(v) },
	}
}

// path is that of a file on the workers' machines: what StateFun takes from its
// own process there is not.
func (c *converter) path(n *yaml.Node) string {
	text := c.text(n)
	switch {
	case strings.HasPrefix(text, "classpath:"):
		c.problem(n, "put the file onto the workers' machines, and write its path", "there is no classpath to find %s in", text)
	case strings.HasPrefix(text, "~"):
		c.problem(n, "write the whole path", "a worker's home is not looked into for %s", text)
	}
	return text
}

func (c *converter) addRemote(n *yaml.Node, r remote) {
	if len(r.Types) == 0 || r.URL == "" {
		c.problem(n, "", "an endpoint without functions or urlPathTemplate")
		return
	}
	if err := (endpoint.Config{URL: r.URL, CAFile: r.TLS.CA, CertFile: r.TLS.Cert, KeyFile: r.TLS.Key}).Check(); err != nil {
		c.problem(r.at, "", "%v", err)
	}
	c.file.Functions.Remote = append(c.file.Functions.Remote, r)
}

package rpc

import (
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"

	"connectrpc.com/connect"

	"github.com/weirstream/weir/platform/api/grpc/health/v1/healthv1connect"
	"github.com/weirstream/weir/platform/api/weir/v1/weirv1connect"
	"github.com/weirstream/weir/platform/auth"
)

// forwarded marks a call that came through another process, so that two of
// them never pass it back and forth.
const forwarded = "Weir-Forwarded"

// Local tells whether a path is answered by the process that is asked, whoever
// leads: its health, its metrics, what it wrote down, and what other processes say to it.
func Local(path string) bool {
	for _, p := range []string{"/metrics", "/healthz", "/" + healthv1connect.HealthName + "/", "/" + weirv1connect.ClusterServiceName + "/", "/" + weirv1connect.AuditServiceName + "/", auth.InternalPath, "/grpc.reflection."} {
		if strings.HasPrefix(path, p) {
			return true
		}
	}
	return false
}

// Proxy passes calls of any of the API's protocols on to the URL that target
// gives, by connections of the transport, which is the proxy's own from now on.
func Proxy(transport *http.Transport, target func() (string, error)) http.Handler {
	var protocols http.Protocols
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true) // gRPC needs trailers, streams need both ways
	transport.Protocols = &protocols
	errors := connect.NewErrorWriter()
	refuse := func(w http.ResponseWriter, r *http.Request, err error) {
		refusal := connect.NewError(connect.CodeUnavailable, err)
		if errors.IsSupported(r) {
			_ = errors.Write(w, r, refusal) // the caller is gone if it fails
			return
		}
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to, err := target()
		if err == nil && r.Header.Get(forwarded) != "" {
			err = errNoLeader // whoever sent it here believed that this process leads
		}
		if err != nil {
			refuse(w, r, err)
			return
		}
		u, err := url.Parse(to)
		if err != nil {
			refuse(w, r, err)
			return
		}
		proxy := &httputil.ReverseProxy{
			Transport: transport, FlushInterval: -1, ErrorHandler: refuse,
			Rewrite: func(p *httputil.ProxyRequest) {
				p.SetURL(u)
				p.SetXForwarded()
				p.Out.Header.Set(forwarded, "1")
			},
		}
		proxy.ServeHTTP(w, r)
	})
}

package tlsfiles

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// alerts are what the other side says by TLS of the certificate that it was shown,
// in the words of crypto/tls, which has no type for them.
var alerts = []struct{ says, text, hint string }{
	{"certificate required", "it wants a certificate of the caller, and none was shown", "name one: --tls-cert FILE --tls-key FILE, or WEIR_TLS_CERT and WEIR_TLS_KEY"},
	{"expired certificate", "it says that the caller's certificate has expired", "renew the file of --tls-cert"},
	{"unknown certificate authority", "it does not trust who signed the caller's certificate", "use a certificate of an authority in the server's --tls-client-ca"},
	{"bad certificate", "it does not accept the caller's certificate", "use a certificate for clients of an authority in the server's --tls-client-ca"},
	{"unsupported certificate", "it does not accept this kind of certificate of a caller", "use a certificate for clients (extended key usage: client authentication)"},
	{"protocol version not supported", "it speaks no version of TLS that this program does", "version 1.2 or later is needed"},
}

// Problem is why two sides could not agree on a connection, with what to do.
type Problem struct {
	text, hint string
	err        error
}

func (p *Problem) Error() string { return p.text }

// Unwrap gives what was reported.
func (p *Problem) Unwrap() error { return p.err }

// Hint is what to do next.
func (p *Problem) Hint() string { return p.hint }

// probeLimit bounds how long Why waits for the other side's word.
const probeLimit = 2 * time.Second

// Why finds out whether TLS is at fault in an error of a connection to an address;
// nil if not. Since TLS 1.3 a server judges its caller's certificate when the caller
// is writing already, whose write may fail before the verdict is read. So if the
// error does not tell, another connection is made that only listens.
func (k *Keeper) Why(ctx context.Context, address string, err error) *Problem {
	if p := Explain(address, err); p != nil {
		return p
	}
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	conn, err := k.Dialer(new(net.Dialer), protocols...)(ctx, "tcp", address)
	if err != nil {
		return Explain(address, err)
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	_ = conn.SetReadDeadline(deadline) // a connection that is gone says so when it is read
	if _, err = conn.Read(make([]byte, 1)); err == nil {
		return nil
	}
	return Explain(address, err)
}

// Explain finds out of an error of a connection whether TLS is at fault; nil if not.
// Host is what was dialled.
func Explain(host string, err error) *Problem {
	say := func(hint, format string, args ...any) *Problem {
		return &Problem{host + ": " + fmt.Sprintf(format, args...), hint, err}
	}
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var header tls.RecordHeaderError
	var remote *net.OpError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil:
		const hint = "renew it: a server of Weir uses new files without a restart; if it is good, look at this machine's clock"
		if from := invalid.Cert.NotBefore; time.Now().Before(from) {
			return say(hint, "its certificate is not valid before %s", from.UTC().Format(time.RFC3339))
		}
		return say(hint, "its certificate expired at %s", invalid.Cert.NotAfter.UTC().Format(time.RFC3339))
	case errors.As(err, &invalid):
		return say("the server needs a certificate for servers; its chain may be incomplete", "its certificate is not valid: %v", invalid)
	case errors.As(err, &unknown):
		return say("if it is the right one, name its authority's certificate: --tls-ca FILE or WEIR_TLS_CA", "its certificate is signed by nobody that is trusted here")
	case errors.As(err, &name):
		return say("call it by a name that its certificate has, or add this one", "its certificate is for %s", namesOf(name.Certificate))
	case errors.As(err, &header) && strings.HasPrefix(string(header.RecordHeader[:]), "HTTP"), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return say("write http://, or start it with --tls-cert and --tls-key", "it speaks no TLS")
	case errors.As(err, &remote) && remote.Op == "remote error":
		for _, a := range alerts {
			if strings.Contains(remote.Err.Error(), a.says) {
				return say(a.hint, "%s", a.text)
			}
		}
		return say("the other side's log has more", "it ended the handshake: %v", remote.Err)
	}
	return nil
}

// SpeaksTLS says that a side was called without TLS and wants it.
func SpeaksTLS(host string) *Problem {
	return &Problem{host + ": it speaks TLS, and was called without", "write https:// before its address", nil}
}

// namesOf lists what a certificate is for.
func namesOf(c *x509.Certificate) string {
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return "no name at all"
	}
	return strings.Join(names, ", ")
}

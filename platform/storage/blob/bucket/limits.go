package bucket

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"time"
)

// Limits bound what one request may take and how often it is made. Zero values
// mean the defaults.
type Limits struct {
	Attempts int           // of one request, the first included
	Backoff  time.Duration // before the second; it doubles, up to maxBackoff
	Answer   time.Duration // from a request's first byte to the answer's header
	Idle     time.Duration // without a byte of an answer's body
}

// The defaults. A part of partBytes has to go up within the time for an answer:
// that asks for 140 kB/s.
const (
	DefaultAttempts = 5
	DefaultBackoff  = 100 * time.Millisecond
	DefaultAnswer   = 60 * time.Second
	DefaultIdle     = 30 * time.Second

	maxBackoff      = 5 * time.Second
	dialLimit       = 10 * time.Second
	idleConnections = 32 // kept to one host
)

func (l Limits) normalize() Limits {
	if l.Attempts == 0 {
		l.Attempts = DefaultAttempts
	}
	if l.Backoff == 0 {
		l.Backoff = DefaultBackoff
	}
	if l.Answer == 0 {
		l.Answer = DefaultAnswer
	}
	if l.Idle == 0 {
		l.Idle = DefaultIdle
	}
	return l
}

// client makes requests under the limits. All providers' clients use one such.
func (l Limits) client() *http.Client {
	dialer := &net.Dialer{Timeout: dialLimit}
	return &http.Client{Transport: &bounded{limits: l, next: &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, ForceAttemptHTTP2: true,
		MaxIdleConns: idleConnections, MaxIdleConnsPerHost: idleConnections,
		IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: dialLimit, ExpectContinueTimeout: time.Second,
	}}}
}

// slowError is a request that ran into a limit of time. It is one that providers'
// clients repeat.
type slowError struct{ limit time.Duration }

func (e *slowError) Error() string   { return "no answer within " + e.limit.String() }
func (e *slowError) Timeout() bool   { return true }
func (e *slowError) Temporary() bool { return true }

// bounded ends requests that make no progress.
type bounded struct {
	limits Limits
	next   http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (b *bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	slow := &slowError{b.limits.Answer}
	timer := time.AfterFunc(b.limits.Answer, func() { cancel(slow) })
	resp, err := b.next.RoundTrip(r.WithContext(ctx))
	timer.Stop()
	if err != nil {
		defer cancel(nil)
		if cause := context.Cause(ctx); cause == error(slow) {
			return nil, slow
		}
		return nil, err
	}
	resp.Body = &boundedBody{inner: resp.Body, ctx: ctx, cancel: cancel, limit: b.limits.Idle}
	return resp, nil
}

type boundedBody struct {
	inner  io.ReadCloser
	ctx    context.Context //nolint:containedctx // the request's
	cancel context.CancelCauseFunc
	limit  time.Duration
}

// Read implements io.Reader.
func (b *boundedBody) Read(p []byte) (int, error) {
	timer := time.AfterFunc(b.limit, func() { b.cancel(&slowError{b.limit}) })
	n, err := b.inner.Read(p)
	timer.Stop()
	var slow *slowError
	if err != nil && errors.As(context.Cause(b.ctx), &slow) {
		err = slow
	}
	return n, err
}

// Close implements io.Closer.
func (b *boundedBody) Close() error {
	err := b.inner.Close()
	b.cancel(nil)
	return err
}

// delay is the pause before a try of S3's client; half of it is random, so that
// those who were refused together do not come back together.
func (l Limits) delay(attempt int, _ error) (time.Duration, error) {
	d := maxBackoff
	if attempt < 16 {
		d = min(l.Backoff<<attempt, maxBackoff)
	}
	return d/2 + rand.N(d/2+1), nil
}

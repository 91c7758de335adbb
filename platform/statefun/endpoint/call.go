package endpoint

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Call posts a request for a function and gives the reply's bytes. key is the
// call's Idempotency-Key; it stays the same when the call is made again. A call
// that fails gives an *Error, one that is given up the context's.
func (e *Endpoint) Call(ctx context.Context, function, key string, request []byte) ([]byte, error) {
	budget, cancel := context.WithTimeout(ctx, e.call)
	defer cancel()
	start := time.Now()
	target := e.url.target(function)
	backoff := FirstBackoff
	for attempt := 1; ; attempt++ {
		reply, failed, wait := e.attempt(budget, target, key, request)
		if failed == nil {
			return reply, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		failed.URL, failed.Attempts, failed.Took = target, attempt, time.Since(start)
		wait = max(backoff, wait)
		// A pause that the budget has no room for would only keep the caller up.
		if failed.Final || budget.Err() != nil || time.Since(start)+wait >= e.call {
			return nil, failed
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		}
		backoff = min(2*backoff, MaxBackoff)
	}
}

// attempt makes one; wait is what the server asks for before the next.
func (e *Endpoint) attempt(budget context.Context, target, key string, request []byte) (reply []byte, failed *Error, wait time.Duration) {
	ctx, w := newWatch(budget)
	defer w.close()
	req, err := http.NewRequestWithContext(w.trace(ctx, e.write, e.read), http.MethodPost, target, bytes.NewReader(request))
	if err != nil {
		return nil, &Error{Final: true, Cause: fmt.Errorf("%w: %w", errRequest, err)}, 0
	}
	h := req.Header
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Accept", "application/octet-stream")
	h.Set("User-Agent", "statefun")
	if key != "" {
		h.Set("Idempotency-Key", key)
	}
	resp, err := e.client.Do(req)
	if err != nil {
		return nil, &Error{Cause: w.why(ctx, 0, err)}, 0
	}
	defer resp.Body.Close()
	failed = &Error{Status: resp.StatusCode, ContentType: resp.Header.Get("Content-Type")}
	body, err := w.readAll(resp, e.read)
	switch {
	case err != nil:
		failed.Cause = w.why(ctx, len(body), err)
		return nil, failed, 0
	case len(body) > MaxReplyBytes:
		failed.Final, failed.Cause = true, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, MaxReplyBytes)
		return nil, failed, 0
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		failed.Body = shown(body)
		failed.Final, failed.Cause = !passing(resp.StatusCode), statusError(resp, failed.Body)
		return nil, failed, retryAfter(resp)
	}
	return body, nil, 0
}

func statusError(resp *http.Response, body string) error {
	text := resp.Status
	if to := resp.Header.Get("Location"); to != "" && resp.StatusCode/100 == 3 {
		text += ", which leads to " + to + " and is not followed"
	}
	if body != "" {
		text += ": " + body
	}
	return fmt.Errorf("%w %s", ErrStatus, text)
}

// retryAfter reads both forms of the header.
func retryAfter(resp *http.Response) time.Duration {
	text := strings.TrimSpace(resp.Header.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}

// watch ends an attempt that stands still. Each step of it has a limit of its own,
// as deadlines on a connection cannot: several requests share one in HTTP/2.
type watch struct {
	cancel context.CancelCauseFunc

	mu    sync.Mutex // guards what follows; the transport tells of steps from its goroutines
	timer *time.Timer
	until time.Time
	limit time.Duration
	step  error // what it means to stand still here
}

// errStill is the cause of a context that a watch has ended.
var errStill = errors.New("it stands still")

func newWatch(ctx context.Context) (context.Context, *watch) {
	w := &watch{step: ErrConnect}
	ctx, w.cancel = context.WithCancelCause(ctx)
	return ctx, w
}

// enter begins a step. Until the first one the dialer has the limit.
func (w *watch) enter(step error, limit time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.step, w.limit, w.until = step, limit, time.Now().Add(limit)
	if w.timer == nil {
		w.timer = time.AfterFunc(limit, w.fire)
	} else {
		w.timer.Reset(limit)
	}
}

// leave goes back to where the dialer has the limit: the transport connects anew.
func (w *watch) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.step = ErrConnect
	if w.timer != nil {
		w.timer.Stop()
		w.until = time.Now().Add(MaxCallTimeout)
	}
}

func (w *watch) fire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if left := time.Until(w.until); left > 0 { // another step began meanwhile
		w.timer.Reset(left)
		return
	}
	w.cancel(errStill)
}

func (w *watch) close() {
	w.mu.Lock()
	if w.timer != nil {
		w.timer.Stop()
	}
	w.mu.Unlock()
	w.cancel(nil)
}

// trace has the transport tell of its steps.
func (w *watch) trace(ctx context.Context, write, read time.Duration) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { w.leave() },
		GotConn: func(httptrace.GotConnInfo) { w.enter(ErrSend, write) },
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err == nil && w.at(ErrSend) { // the answer may have begun
				w.enter(ErrSilent, read)
			}
		},
		GotFirstResponseByte: func() { w.enter(ErrStalled, read) },
	})
}

func (w *watch) at(step error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.step == step
}

// readAll reads a body up to a byte more than is allowed.
func (w *watch) readAll(resp *http.Response, read time.Duration) ([]byte, error) {
	body := make([]byte, 0, max(min(resp.ContentLength, maxTrustedBytes), 511)+1)
	for len(body) <= MaxReplyBytes {
		if len(body) == cap(body) {
			body = append(body, 0)[:len(body)]
		}
		n, err := resp.Body.Read(body[len(body):min(cap(body), MaxReplyBytes+1)])
		body = body[:len(body)+n]
		switch {
		case err == io.EOF:
			return body, nil
		case err != nil:
			return body, err
		}
		w.enter(ErrStalled, read)
	}
	return body, nil
}

// why names what an attempt met, after so many bytes of an answer.
func (w *watch) why(ctx context.Context, got int, err error) error {
	w.mu.Lock()
	step, limit := w.step, w.limit
	w.mu.Unlock()
	var repeated *url.Error // it has the URL again
	if errors.As(err, &repeated) {
		err = repeated.Err
	}
	after := ""
	if step == ErrStalled {
		after = fmt.Sprintf(" after %d bytes", got)
	}
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errStill):
		return fmt.Errorf("%w%s: nothing for %s", step, after, limit)
	case cause != nil:
		return fmt.Errorf("%w%s within the call's time", step, after)
	case step == ErrConnect:
		return fmt.Errorf("%w: %w", ErrConnect, err)
	case step == ErrStalled:
		return fmt.Errorf("%w%s: %w", ErrHalf, after, err)
	}
	return fmt.Errorf("%w: %w", ErrLost, err)
}

package fetch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/functions"
)

// Columns of functions.Request, by position.
const (
	colMethod = iota
	colURL
	colHeaders
	colBody
	colHandler
	colPayload
	colTimeout
	colAttempts
	colCallerType
	colCallerID
)

// request is what stands in state until its answer is applied. Its form is JSON:
// requests to the outside are few against what a message costs.
type request struct {
	Caller    functions.Address `json:"caller"`
	Method    string            `json:"method"`
	URL       string            `json:"url"`
	Headers   map[string]string `json:"headers,omitempty"`
	Body      []byte            `json:"body,omitempty"`
	Handler   string            `json:"handler"`
	Payload   []byte            `json:"payload,omitempty"`
	TimeoutMs int64             `json:"timeout_ms"`
	Attempts  int32             `json:"attempts"`
	Refused   string            `json:"refused,omitempty"` // why it is not made at all
}

// answer is the value of the message that the sender gets.
type answer struct {
	Handler string            `json:"handler"`
	Payload []byte            `json:"payload,omitempty"`
	Status  int               `json:"status,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	Body    []byte            `json:"body,omitempty"`
	Error   string            `json:"error,omitempty"`
}

// readRequest takes a row. What is wrong with it becomes its answer.
func readRequest(b *batch.Batch, row int) *request {
	text := func(col int) string { return strings.Clone(b.Columns[col].StringAt(row)) }
	r := &request{
		Caller: functions.Address{Type: text(colCallerType), ID: text(colCallerID)},
		Method: text(colMethod), URL: text(colURL), Handler: text(colHandler),
		Payload:   bytes.Clone(b.Columns[colPayload].BytesAt(row)),
		TimeoutMs: b.Columns[colTimeout].Int64s()[row], Attempts: b.Columns[colAttempts].Int32s()[row],
	}
	if c := &b.Columns[colBody]; !c.Null(row) {
		r.Body = bytes.Clone(c.BytesAt(row))
	}
	if c := &b.Columns[colHeaders]; !c.Null(row) {
		if err := json.Unmarshal(c.BytesAt(row), &r.Headers); err != nil {
			r.Refused = "headers: want a JSON object of texts: " + err.Error()
		}
	}
	switch {
	case r.Refused != "":
	case len(r.Headers) > MaxHeaders:
		r.Refused = fmt.Sprintf("%d headers, the limit is %d", len(r.Headers), MaxHeaders)
	case r.TimeoutMs < 0 || r.TimeoutMs > MaxTimeout.Milliseconds():
		r.Refused = fmt.Sprintf("a timeout of %d ms, want at most %d", r.TimeoutMs, MaxTimeout.Milliseconds())
	case r.Attempts < 0 || r.Attempts > MaxAttempts:
		r.Refused = fmt.Sprintf("%d attempts, want at most %d", r.Attempts, MaxAttempts)
	case !slices.Contains([]string{"", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}, r.Method):
		r.Refused = fmt.Sprintf("method %q, want GET, HEAD, POST, PUT, PATCH or DELETE", r.Method)
	}
	return r
}

// allowed is the list of servers that may be called.
type allowed []string

func (a allowed) check(u *url.URL) error {
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("scheme %q: want http or https", u.Scheme)
	case u.Hostname() == "":
		return errors.New("a URL without a host")
	}
	host := strings.ToLower(u.Hostname())
	port := u.Port()
	for _, entry := range a {
		entry = strings.ToLower(entry)
		scheme, rest, explicit := strings.Cut(entry, "://")
		if !explicit {
			scheme, rest = "https", entry
		}
		name, want, err := net.SplitHostPort(rest)
		if err != nil {
			name, want = strings.Trim(rest, "[]"), ""
		}
		if scheme != u.Scheme || !portMatches(scheme, want, port) {
			continue
		}
		if suffix, ok := strings.CutPrefix(name, "*"); ok && strings.HasPrefix(suffix, ".") && strings.HasSuffix(host, suffix) || name == host {
			return nil
		}
	}
	return fmt.Errorf("%s://%s is not among the servers that may be called: add it to `functions: http: allow:` of the pipeline's file", u.Scheme, u.Host)
}

func portMatches(scheme, want, port string) bool {
	standard := map[string]string{"https": "443", "http": "80"}[scheme]
	if want == "" {
		want = standard
	}
	if port == "" {
		port = standard
	}
	return want == port
}

// CheckServer says whether a text is an entry of Config.Allow.
func CheckServer(text string) error {
	scheme, rest, explicit := strings.Cut(text, "://")
	if !explicit {
		scheme, rest = "https", text
	}
	name, port, err := net.SplitHostPort(rest)
	if err != nil {
		name, port = strings.Trim(rest, "[]"), "443"
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 || name == "" || strings.ContainsAny(name, "/@? ") || scheme != "http" && scheme != "https" {
		return fmt.Errorf("%q is no server that can be called", text)
	}
	return nil
}

// caller makes calls. Redirects are answers like any other: where they lead may not be allowed.
type caller struct {
	client *http.Client
	allow  allowed
}

func newCaller(allow []string) *caller {
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: DefaultInFlight, IdleConnTimeout: time.Minute,
		DialContext: (&net.Dialer{Timeout: DefaultTimeout}).DialContext, TLSHandshakeTimeout: DefaultTimeout, MaxResponseHeaderBytes: 64 << 10,
	}
	return &caller{allow: allow, client: &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// call makes a request, again as often as it says, and always has an answer.
func (c *caller) call(ctx context.Context, r *request, idempotencyKey string) answer {
	out := answer{Handler: r.Handler, Payload: r.Payload}
	u, err := url.Parse(r.URL)
	if err == nil && r.Refused == "" {
		err = c.allow.check(u)
	}
	switch {
	case r.Refused != "":
		out.Error = r.Refused
		return out
	case err != nil:
		out.Error = err.Error()
		return out
	}
	backoff := FirstBackoff
	for attempt := int32(1); ; attempt++ {
		retry, wait, err := c.once(ctx, r, idempotencyKey, &out)
		if err == nil || !retry || attempt >= max(r.Attempts, 1) || ctx.Err() != nil {
			if err != nil {
				out.Error = err.Error()
				if attempt > 1 {
					out.Error += fmt.Sprintf(" (after %d attempts)", attempt)
				}
			}
			return out
		}
		select {
		case <-time.After(max(backoff, wait)):
		case <-ctx.Done():
		}
		backoff = min(2*backoff, MaxBackoff)
	}
}

// once makes one attempt. A status that asks for another is an error with it.
func (c *caller) once(ctx context.Context, r *request, key string, out *answer) (retry bool, wait time.Duration, err error) {
	timeout := DefaultTimeout
	if r.TimeoutMs > 0 {
		timeout = time.Duration(r.TimeoutMs) * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	method := r.Method
	if method == "" {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(ctx, method, r.URL, bytes.NewReader(r.Body))
	if err != nil {
		return false, 0, err
	}
	req.Header.Set("User-Agent", "weir")
	req.Header.Set("Idempotency-Key", key)
	for name, value := range r.Headers {
		req.Header.Set(name, value)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		if ctx.Err() == context.DeadlineExceeded {
			err = fmt.Errorf("%s %s: no answer within %s", method, r.URL, timeout)
		}
		return true, 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxAnswerBytes+1))
	if err != nil {
		return true, 0, fmt.Errorf("%s %s: read the answer: %w", method, r.URL, err)
	}
	if len(body) > MaxAnswerBytes {
		return false, 0, fmt.Errorf("%s %s: an answer of more than %d bytes", method, r.URL, MaxAnswerBytes)
	}
	out.Status, out.Body, out.Headers = resp.StatusCode, body, map[string]string{}
	for name := range resp.Header {
		if len(out.Headers) < MaxHeaders {
			out.Headers[name] = resp.Header.Get(name)
		}
	}
	switch s := resp.StatusCode; {
	case s == http.StatusRequestTimeout, s == http.StatusTooManyRequests, s >= 500 && s != http.StatusNotImplemented:
		if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
			wait = min(time.Duration(max(seconds, 0))*time.Second, MaxBackoff)
		}
		return true, wait, fmt.Errorf("%s %s: status %s", method, r.URL, resp.Status)
	}
	return false, 0, nil
}

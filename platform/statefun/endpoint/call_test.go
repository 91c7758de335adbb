package endpoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a network in memory, so that time is the bubble's.
type pipes struct {
	conns chan net.Conn
	done  chan struct{} // closed when nobody listens
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// bubble runs a test against a server in virtual time. seen has when each request came.
func bubble(t *testing.T, c Config, handle http.HandlerFunc, test func(t *testing.T, e *Endpoint, seen func() []time.Duration)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		start, at := time.Now(), make(chan []time.Duration, 1)
		at <- nil
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			at <- append(<-at, time.Since(start))
			_, _ = io.Copy(io.Discard, r.Body)
			handle(w, r)
		})}
		ended := make(chan struct{})
		go func() { defer close(ended); _ = s.Serve(p) }()
		c.URL = "http://server/"
		e, err := build(c, p.dial)
		if err != nil {
			t.Fatal(err)
		}
		test(t, e, func() []time.Duration { all := <-at; at <- all; return all })
		e.Close()
		close(p.done)
		_ = s.Close()
		<-ended
	})
}

func ms(n ...int) (out []time.Duration) {
	for _, n := range n {
		out = append(out, time.Duration(n)*time.Millisecond)
	}
	return out
}

func TestPausesDoubleFromTenMillisecondsWithinTheBudget(t *testing.T) {
	handle := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(503)
		fmt.Fprint(w, "not\n now")
	}
	bubble(t, Config{CallTimeoutMs: 1000}, handle, func(t *testing.T, e *Endpoint, seen func() []time.Duration) {
		_, err := e.Call(t.Context(), "f", "", []byte("x"))
		if got, want := seen(), ms(0, 10, 30, 70, 150, 310, 630); !slices.Equal(got, want) {
			t.Errorf("attempts at %v, want %v", got, want)
		}
		// The next pause ends at 1270 ms, so nobody waits for it.
		var failed *Error
		if !errors.As(err, &failed) || !errors.Is(err, ErrExhausted) || !errors.Is(err, ErrStatus) || errors.Is(err, ErrFinal) {
			t.Fatal(err)
		}
		if failed.Attempts != 7 || failed.Took != 630*time.Millisecond || failed.Status != 503 || failed.ContentType != "text/plain" || failed.Body != "not now" {
			t.Errorf("%+v", failed)
		}
		if want := "the endpoint does not answer: 7 attempts in 630ms, the last: POST http://server/: status 503 Service Unavailable: not now"; err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
	})
}

func TestTheLongestPauseIsTenSeconds(t *testing.T) {
	handle := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }
	bubble(t, Config{CallTimeoutMs: 60_000}, handle, func(t *testing.T, e *Endpoint, seen func() []time.Duration) {
		_, _ = e.Call(t.Context(), "f", "", nil)
		// 10 ms * (2^n - 1), then steps of ten seconds.
		want := ms(0, 10, 30, 70, 150, 310, 630, 1270, 2550, 5110, 10230, 20230, 30230, 40230, 50230)
		if got := seen(); !slices.Equal(got, want) {
			t.Errorf("attempts at %v, want %v", got, want)
		}
	})
}

func TestAServerIsGivenTheTimeItAsksFor(t *testing.T) {
	for what, after := range map[string]func() string{
		"seconds": func() string { return "7" },
		"a date":  func() string { return time.Now().Add(7 * time.Second).UTC().Format(http.TimeFormat) },
	} {
		calls := 0
		handle := func(w http.ResponseWriter, _ *http.Request) {
			if calls++; calls == 1 {
				w.Header().Set("Retry-After", after())
				w.WriteHeader(429)
			}
		}
		bubble(t, Config{}, handle, func(t *testing.T, e *Endpoint, seen func() []time.Duration) {
			if _, err := e.Call(t.Context(), "f", "", nil); err != nil {
				t.Error(what, err)
			}
			if got := seen(); !slices.Equal(got, ms(0, 7000)) {
				t.Errorf("%s: attempts at %v", what, got)
			}
		})
	}
	handle := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(503)
	}
	bubble(t, Config{}, handle, func(t *testing.T, e *Endpoint, _ func() []time.Duration) {
		start := time.Now()
		if _, err := e.Call(t.Context(), "f", "", nil); !errors.Is(err, ErrExhausted) || time.Since(start) != 0 {
			t.Errorf("%v after %s, though there is no time for what it asks", err, time.Since(start))
		}
	})
}

// fails makes a call and says what its last attempt met.
func fails(t *testing.T, e *Endpoint, cause error, text string) {
	t.Helper()
	_, err := e.Call(t.Context(), "f", "", []byte("x"))
	if !errors.Is(err, ErrExhausted) || !errors.Is(err, cause) || !strings.Contains(err.Error(), text) {
		t.Errorf("%v, want %v and %q", err, cause, text)
	}
}

func TestASilentServerIsTriedAgain(t *testing.T) {
	silent := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	bubble(t, Config{}, silent, func(t *testing.T, e *Endpoint, seen func() []time.Duration) {
		fails(t, e, ErrSilent, "6 attempts in 1m0s, the last: POST http://server/: no answer within the call's time")
		if got, want := seen(), ms(0, 10_010, 20_030, 30_070, 40_150, 50_310); !slices.Equal(got, want) {
			t.Errorf("attempts at %v, want %v", got, want)
		}
	})
	bubble(t, Config{CallTimeoutMs: 100, ReadMs: 95}, silent, func(t *testing.T, e *Endpoint, _ func() []time.Duration) {
		fails(t, e, ErrSilent, "no answer: nothing for 95ms") // the pause would end after the budget
	})
}

func TestASlowAnswerHasTimeAsLongAsItGoesOn(t *testing.T) {
	drip := func(n int, every time.Duration) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			for range n {
				_, _ = w.Write([]byte("x"))
				_ = http.NewResponseController(w).Flush()
				select {
				case <-time.After(every):
				case <-r.Context().Done():
					return
				}
			}
		}
	}
	bubble(t, Config{}, drip(6, 9*time.Second), func(t *testing.T, e *Endpoint, seen func() []time.Duration) {
		if got, err := e.Call(t.Context(), "f", "", nil); err != nil || string(got) != "xxxxxx" || len(seen()) != 1 {
			t.Errorf("%q, %v, %v", got, err, seen())
		}
	})
	bubble(t, Config{}, drip(100, 9*time.Second), func(t *testing.T, e *Endpoint, _ func() []time.Duration) {
		fails(t, e, ErrStalled, "1 attempts in 1m0s, the last: POST http://server/: the answer stands still after 7 bytes within the call's time")
	})
	bubble(t, Config{CallTimeoutMs: 15_000, ReadMs: 14_995}, drip(2, 20*time.Second), func(t *testing.T, e *Endpoint, _ func() []time.Duration) {
		fails(t, e, ErrStalled, "the answer stands still after 1 bytes: nothing for 14.995s")
	})
}

func TestAServerThatTakesNoRequestOrNoConnectionHasItsName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept []net.Conn // whose other end nobody reads
		e, err := build(Config{URL: "http://server/", CallTimeoutMs: 10_005}, func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			kept = append(kept, theirs)
			return ours, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		// A request that fits the transport's buffer is sent as far as that knows.
		_, err = e.Call(t.Context(), "f", "", make([]byte, 1<<20))
		if !errors.Is(err, ErrExhausted) || !errors.Is(err, ErrSend) || !strings.Contains(err.Error(), "the server does not take the request: nothing for 10s") {
			t.Error(err)
		}
		for _, c := range kept {
			c.Close()
		}
	})
	synctest.Test(t, func(t *testing.T) {
		hang := func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		e, err := build(Config{URL: "http://server/", CallTimeoutMs: 20}, hang)
		if err != nil {
			t.Fatal(err)
		}
		fails(t, e, ErrConnect, "no connection within the call's time")
		if e, err = build(Config{URL: "http://server/", CallTimeoutMs: 20, ConnectMs: 15}, hang); err != nil {
			t.Fatal(err)
		}
		fails(t, e, ErrConnect, "no connection: dial server:80: nothing for 15ms")
		if e, err = build(Config{URL: "http://server/"}, hang); err != nil {
			t.Fatal(err)
		}
		fails(t, e, ErrConnect, "6 attempts in 1m0s, the last: POST http://server/: no connection within the call's time")
		time.Sleep(DefaultAttemptTimeout) // the transport's dial outlives the call
	})
	fails(t, open(t, Config{URL: "http://127.0.0.1:1/", CallTimeoutMs: 60}), ErrConnect, "refused")
}

// raw answers every request with a text, and then ends the connection.
func raw(answer string) dial {
	return func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			_, _ = theirs.Read(make([]byte, 4096))
			_, _ = io.WriteString(theirs, answer)
			_ = theirs.Close()
		}()
		return ours, nil
	}
}

func TestHalfAnswersHaveTheirNames(t *testing.T) {
	for answer, want := range map[string]struct {
		cause error
		text  string
	}{
		"":                 {ErrLost, "the connection ended without an answer"},
		"HTTP/1.1 200 O":   {ErrHalf, "breaks off after 0 bytes"},
		"<html>no HTTP</>": {ErrHalf, "malformed"},
		"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf":                   {ErrHalf, "breaks off after 4 bytes"},
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n8;": {ErrHalf, "breaks off after 4 bytes"},
	} {
		synctest.Test(t, func(t *testing.T) {
			e, err := build(Config{URL: "http://server/", CallTimeoutMs: 40}, raw(answer))
			if err != nil {
				t.Fatal(err)
			}
			fails(t, e, want.cause, want.text)
			e.Close()
		})
	}
	// The Python SDK answers with nothing if there is nothing to do, and its users'
	// servers may not say that this is all.
	for _, answer := range []string{"HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\nwhole"} {
		synctest.Test(t, func(t *testing.T) {
			e, err := build(Config{URL: "http://server/", CallTimeoutMs: 40}, raw(answer))
			if err != nil {
				t.Fatal(err)
			}
			if got, err := e.Call(t.Context(), "f", "", nil); err != nil || len(got) > 0 && string(got) != "whole" {
				t.Errorf("%q: %q, %v", answer, got, err)
			}
			e.Close()
		})
	}
}

func TestAnAnswerOverTheLimitIsFinal(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		for range MaxReplyBytes/(1<<20) + 1 {
			_, _ = w.Write(make([]byte, 1<<20))
		}
	})
	if _, err := open(t, Config{URL: s.URL}).Call(t.Context(), "f", "", nil); !errors.Is(err, ErrFinal) || !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
}

func TestACallThatIsGivenUpEndsAtOnce(t *testing.T) {
	silent := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	bubble(t, Config{}, silent, func(t *testing.T, e *Endpoint, _ func() []time.Duration) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 3*time.Second, errors.New("enough"))
		defer cancel()
		start := time.Now()
		if _, err := e.Call(ctx, "f", "", nil); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 3*time.Second {
			t.Errorf("%v after %s", err, time.Since(start))
		}
	})
}

func TestOnlyTextIsShownOfABody(t *testing.T) {
	for body, want := range map[string]string{
		"": "", "no": "no", " a\r\n\tb ": "a b", "\x00\x01": "", "\xff": "", "<html>é": "<html>é",
		strings.Repeat("é", 200): strings.Repeat("é", 150), "x" + strings.Repeat("é", 200): "x" + strings.Repeat("é", 149),
	} {
		if got := shown([]byte(body)); got != want {
			t.Errorf("%q: %q, want %q", body, got, want)
		}
	}
}

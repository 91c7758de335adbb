package remote

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/weirstream/weir/platform/upgrade"
)

// Dialer is the sending side of a worker process.
type Dialer struct{ options Options }

// NewDialer makes a dialer.
func NewDialer(o Options) *Dialer { return &Dialer{options: o} }

// Dial connects to the worker of an epoch for an attempt, waiting until that runs
// there, or ctx ends. The address is host:port, or a URL. An error that wraps
// ErrSuperseded or ErrOtherWorker is for good.
func (d *Dialer) Dial(ctx context.Context, address string, to uint64, a Attempt) (*Link, error) {
	for {
		l, err := d.dial(ctx, address, to, a)
		if err == nil {
			return l, nil
		}
		if final(err) {
			return nil, fmt.Errorf("exchange of %s with worker of epoch %d: %w", a, to, err)
		}
		select {
		case <-time.After(RetryEvery):
		case <-ctx.Done():
			return nil, fmt.Errorf("exchange of %s with worker of epoch %d: %w; the last try: %w", a, to, context.Cause(ctx), err)
		}
	}
}

// final tells whether dialling again is in vain.
func final(err error) bool {
	var refused *upgrade.RefusedError
	return errors.Is(err, ErrSuperseded) || errors.Is(err, ErrOtherWorker) || errors.As(err, &refused) && refused.Status == http.StatusBadRequest
}

func (d *Dialer) dial(ctx context.Context, address string, to uint64, a Attempt) (*Link, error) {
	t := upgrade.Target{URL: address, Protocol: Protocol, Header: http.Header{}}
	scheme := "http://"
	if d.options.TLS != nil {
		t.TLS, scheme = d.options.TLS(), "https://"
	}
	if !strings.Contains(address, "://") {
		t.URL = scheme + address
	}
	t.URL = strings.TrimSuffix(t.URL, "/") + Path
	t.Header.Set(headerTo, strconv.FormatUint(to, 10))
	t.Header.Set(headerFrom, strconv.FormatUint(d.options.Self(), 10))
	t.Header.Set(headerPipeline, a.UID)
	t.Header.Set(headerAttempt, strconv.FormatUint(a.Attempt, 10))
	if d.options.Authorization != nil {
		if value := d.options.Authorization(); value != "" {
			t.Header.Set("Authorization", value)
		}
	}
	conn, err := upgrade.Dial(ctx, t)
	var refused *upgrade.RefusedError
	if errors.As(err, &refused) {
		switch refused.Status {
		case statusSuperseded:
			return nil, fmt.Errorf("%w: %w", ErrSuperseded, err)
		case statusOtherWorker:
			return nil, fmt.Errorf("%w: %w", ErrOtherWorker, err)
		}
	}
	if err != nil {
		return nil, err
	}
	if d.options.wrap != nil {
		conn = d.options.wrap(conn)
	}
	return newLink(conn, a, to), nil
}

package auth

import (
	"fmt"
	"time"
)

// Limits of wrong tokens.
const (
	failuresBurst  = 20              // from one address, before it has to wait
	failureRefill  = 3 * time.Second // gives one back
	maxAddresses   = 4096            // that are counted; what is beyond shares one count
	otherAddresses = "other addresses"
)

// Limiter bounds how often an address may bring a wrong token. A secret of 256
// bits needs no such help; it keeps logs and audit files from being flooded. Who
// brings a good token is let in whatever others behind the same proxy do. The
// caller guards it against concurrent use.
type Limiter struct {
	failures map[string]failures
}

// failures is a bucket: full is when it would be full again.
type failures struct{ full time.Time }

// Fail counts a wrong token; the error tells that it was one too many.
func (l *Limiter) Fail(address string, now time.Time) error {
	if l.failures == nil {
		l.failures = map[string]failures{}
	}
	f, ok := l.failures[address]
	if !ok && len(l.failures) >= maxAddresses {
		l.forget(now)
		if len(l.failures) >= maxAddresses {
			address = otherAddresses
			f = l.failures[address]
		}
	}
	full := f.full
	if full.Before(now) {
		full = now
	}
	full = full.Add(failureRefill)
	if wait := full.Sub(now) - failuresBurst*failureRefill; wait > 0 {
		return &Refusal{ErrThrottled, fmt.Sprintf("%s brought too many wrong tokens", address),
			fmt.Sprintf("correct the token, then call again in %s", (wait + time.Second - 1).Truncate(time.Second))}
	}
	l.failures[address] = failures{full}
	return nil
}

// forget drops addresses whose failures have been forgiven.
func (l *Limiter) forget(now time.Time) {
	for a, f := range l.failures {
		if !f.full.After(now) {
			delete(l.failures, a)
		}
	}
}

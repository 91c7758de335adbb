// Package quota holds the guests of a namespace to what it may use of one
// process: their time by slowing its tasks between calls, their memory by
// refusing instances. It must not know what guests do, nor who sets limits.
package quota

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Burst is the guest time that a namespace may save up while it is idle.
const Burst = 100 * time.Millisecond

// lookAgain bounds a pause, so that a limit that was raised counts soon.
const lookAgain = 100 * time.Millisecond

// whole is a CPU, in the unit of shares.
const whole = 1000

// Limits bound the guests of a namespace in this process; zero means no bound.
type Limits struct {
	Share       int // of the time of a CPU, in thousandths
	MemoryBytes int64
}

// Accounts are those of all namespaces. The zero value has no limits.
type Accounts struct {
	mu   sync.Mutex // guards what follows
	list map[string]*Account
}

// Of is the account of a namespace: the same one at every call.
func (s *Accounts) Of(namespace string) *Account {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.list[namespace]
	if a == nil {
		a = &Account{namespace: namespace}
		if s.list == nil {
			s.list = make(map[string]*Account)
		}
		s.list[namespace] = a
	}
	return a
}

// Account is what a namespace uses. Any goroutine.
//
// Guest time is a bucket that fills at the namespace's share and may be overdrawn:
// how long a call takes is known only when it is over. Whoever comes while it is
// overdrawn waits until it is not. On average all tasks of the namespace together
// get the share, whatever the length of calls; a task waits at most for the time
// of the calls that overdrew it, divided by the share.
type Account struct {
	namespace string
	share     atomic.Int64 // thousandths; 0: calls cost one load

	mu       sync.Mutex // guards what follows
	memory   int64      // limit; 0: none
	reserved int64
	balance  time.Duration // of guest time
	settled  time.Time     // when balance was right
}

// Limit sets the limits. Memory that is reserved already stays.
func (a *Account) Limit(l Limits) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.memory = l.MemoryBytes
	old := a.share.Load()
	if int64(l.Share) == old {
		return
	}
	now := time.Now()
	if old == 0 {
		a.balance = Burst
	} else {
		a.settle(now, old)
	}
	a.settled = now
	a.share.Store(int64(l.Share))
}

// Wait returns when a guest of the namespace may run; context.Canceled when ending closes first.
func (a *Account) Wait(ending <-chan struct{}) error {
	if a.share.Load() == 0 {
		return nil
	}
	for {
		pause := a.pause(time.Now())
		if pause <= 0 {
			return nil
		}
		timer := time.NewTimer(min(pause, lookAgain))
		select {
		case <-timer.C:
		case <-ending:
			timer.Stop()
			return context.Canceled
		}
	}
}

// pause is how long it takes until the bucket is not overdrawn.
func (a *Account) pause(now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	share := a.share.Load()
	if share == 0 {
		return 0
	}
	a.settle(now, share)
	if a.balance >= 0 {
		return 0
	}
	// Rounded up, or a pause of nothing would be asked for again and again.
	return (-a.balance*whole + time.Duration(share) - 1) / time.Duration(share)
}

// Spent charges guest time.
func (a *Account) Spent(took time.Duration) {
	if a.share.Load() == 0 {
		return
	}
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if share := a.share.Load(); share > 0 {
		a.balance -= took // first: what came during the call was not lost to a full bucket
		a.settle(now, share)
	}
}

// settle fills the bucket with what has come since.
func (a *Account) settle(now time.Time, share int64) {
	passed := now.Sub(a.settled)
	if passed <= 0 {
		return // another goroutine has read the clock later and was here first
	}
	if missing := Burst - a.balance; passed >= missing*whole/time.Duration(share) {
		a.balance, a.settled = Burst, now
		return
	}
	come := passed * time.Duration(share) / whole
	a.balance += come
	// What is less than a nanosecond of guest time stays to be counted.
	a.settled = a.settled.Add(come * whole / time.Duration(share))
}

// Reserve takes memory for an instance, the most that it may grow to; Release gives it back.
func (a *Account) Reserve(bytes int64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.memory > 0 && a.reserved+bytes > a.memory {
		return &MemoryError{Namespace: a.namespace, Limit: a.memory, Reserved: a.reserved, Wanted: bytes}
	}
	a.reserved += bytes
	return nil
}

// Release gives memory back.
func (a *Account) Release(bytes int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reserved -= bytes
}

// MemoryError refuses an instance.
type MemoryError struct {
	Namespace               string
	Limit, Reserved, Wanted int64 // bytes
}

func (e *MemoryError) Error() string {
	// Short, because a status shows the beginning of a long text.
	return fmt.Sprintf("namespace %s needs %s of guests' memory on this worker, and its limit is %s: weir namespace limit %s --memory %[2]s",
		e.Namespace, mib(e.Reserved+e.Wanted), mib(e.Limit), e.Namespace)
}

// UserFault marks the error for whoever decides about restarts.
func (e *MemoryError) UserFault() bool { return true }

// mib writes bytes as the command line reads them, rounded up.
func mib(bytes int64) string { return fmt.Sprintf("%dMiB", (bytes+1<<20-1)>>20) }

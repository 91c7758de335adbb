package quota

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// spin makes calls of one length for a while and tells how much guest time they took.
func spin(t *testing.T, a *Account, call, during time.Duration) time.Duration {
	used := time.Duration(0)
	for began := time.Now(); time.Since(began) < during; {
		err := a.Wait(nil)
		if err != nil {
			t.Error(err)
		}
		time.Sleep(call) // the guest works
		a.Spent(call)
		used += call
	}
	return used
}

func TestANamespaceGetsItsShareWhateverTheLengthOfCalls(t *testing.T) {
	for _, call := range []time.Duration{137 * time.Microsecond, time.Millisecond, 30 * time.Millisecond, time.Second} {
		for _, tasks := range []int{1, 4} {
			synctest.Test(t, func(t *testing.T) {
				var all Accounts
				all.Of("team").Limit(Limits{Share: 500})
				var mu sync.Mutex
				var used time.Duration
				var wg sync.WaitGroup
				const during = 100 * time.Second
				for range tasks {
					wg.Go(func() {
						n := spin(t, all.Of("team"), call, during)
						mu.Lock()
						used += n
						mu.Unlock()
					})
				}
				wg.Wait()
				// Half a CPU, the burst, and what the last call of each task overdrew.
				least, most := during/2-time.Duration(tasks)*call, during/2+Burst+time.Duration(2*tasks)*call
				if used < least || used > most {
					t.Errorf("%d tasks with calls of %s: %s of guest time in %s, want %s to %s", tasks, call, used, during, least, most)
				}
			})
		}
	}
}

func TestABurstIsSavedAndNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all Accounts
		a := all.Of("team")
		a.Limit(Limits{Share: 100})
		time.Sleep(time.Hour)
		began := time.Now()
		for range 10 {
			err := a.Wait(nil)
			if err != nil {
				t.Fatal(err)
			}
			a.Spent(Burst / 10) // a call of no duration: nothing comes meanwhile
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("the burst took %s of waiting", d)
		}
		a.Spent(10 * time.Millisecond)
		if err := a.Wait(nil); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d != 100*time.Millisecond {
			t.Errorf("10 ms at a tenth of a CPU took %s, want 100 ms", d)
		}
	})
}

func TestOthersDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all Accounts
		all.Of("team").Limit(Limits{Share: 50})
		all.Of("team").Spent(time.Minute)
		began := time.Now()
		if err := all.Of("other").Wait(nil); err != nil || time.Since(began) != 0 {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}

func TestAWaitEndsWithTheTaskAndWithTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all Accounts
		a := all.Of("team")
		a.Limit(Limits{Share: 50})
		a.Spent(time.Hour)
		ending, done := make(chan struct{}), make(chan error, 2)
		wait := func(ending chan struct{}) { done <- a.Wait(ending) }
		go wait(ending)
		time.Sleep(time.Second)
		close(ending)
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		go wait(nil)
		time.Sleep(time.Second)
		a.Limit(Limits{})
		began := time.Now()
		if err := <-done; err != nil || time.Since(began) > lookAgain {
			t.Errorf("%v, %s after there was no limit", err, time.Since(began))
		}
	})
}

func TestMemoryIsRefusedBeyondTheLimitOfTheNamespace(t *testing.T) {
	var all Accounts
	a := all.Of("team")
	if err := a.Reserve(100 << 20); err != nil {
		t.Fatal("without a limit:", err)
	}
	a.Limit(Limits{MemoryBytes: 128 << 20}) // what is reserved counts
	err := a.Reserve(64 << 20)
	var refused *MemoryError
	if !errors.As(err, &refused) || !refused.UserFault() || !strings.Contains(err.Error(), "weir namespace limit team --memory 164MiB") {
		t.Fatalf("%v", err)
	}
	a.Release(50 << 20)
	if err := a.Reserve(64 << 20); err != nil {
		t.Error("after a release:", err)
	}
}

func BenchmarkACallWithoutALimit(b *testing.B) {
	a := (&Accounts{}).Of("team")
	for b.Loop() {
		err := a.Wait(nil)
		if err != nil {
			b.Fatal(err)
		}
		a.Spent(1)
	}
}

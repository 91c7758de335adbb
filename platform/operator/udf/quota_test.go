package udf

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/weirstream/weir/platform/operator/quota"
)

func TestInstancesOfANamespaceShareItsLimitOfMemory(t *testing.T) {
	alive(t)
	var quotas quota.Accounts
	quotas.Of("team").Limit(quota.Limits{MemoryBytes: 100 << 20})
	team := plan{module: cModule, function: "count_sum", pipeline: "team/p", deps: Deps{Quotas: &quotas}}
	first := open(t, team)
	var refused *quota.MemoryError
	second, err := tryOpen(t, team)
	if !errors.As(err, &refused) || refused.Reserved != 64<<20 || refused.Wanted != 64<<20 {
		t.Fatalf("a second instance of up to 64 MiB: %v", err)
	}
	second.close()
	other := team
	other.pipeline = "other/p"
	open(t, other)
	first.close()
	open(t, team) // what was closed has given its memory back, and what was refused took none
}

func TestATaskOfANamespaceAtItsShareWaitsBetweenCalls(t *testing.T) {
	alive(t)
	const share = 100
	var quotas quota.Accounts
	r := open(t, plan{module: cModule, function: "count_sum", pipeline: "team/p", deps: Deps{Quotas: &quotas}})
	r.discard = true
	batches := counted(r, 1000, 4)
	quotas.Of("team").Limit(quota.Limits{Share: share})
	began, before := time.Now(), r.guest.stats().GuestTime
	var last time.Duration // of the last batch: its calls need not be paid for yet
	for i := 0; time.Since(began) < 300*time.Millisecond || r.guest.stats().GuestTime-before < 2*quota.Burst; i++ {
		was := r.guest.stats().GuestTime
		if err := r.Process(0, batches[i%len(batches)].Retain()); err != nil {
			t.Fatal(err)
		}
		last = r.guest.stats().GuestTime - was
	}
	took, used := time.Since(began), r.guest.stats().GuestTime-before
	if least := (used - last - quota.Burst) * 1000 / share; took < least {
		t.Errorf("%s of guest time in %s at a tenth of a CPU, which takes %s", used, took, least)
	}
	for _, b := range batches {
		b.Release()
	}
}

func TestATaskThatWaitsForItsShareEndsWhenItIsToldTo(t *testing.T) {
	alive(t)
	var quotas quota.Accounts
	ending := make(chan struct{})
	r := open(t, plan{module: cModule, function: "count_sum", pipeline: "team/p", ending: ending, deps: Deps{Quotas: &quotas}})
	batches := counted(r, 10, 1)
	quotas.Of("team").Limit(quota.Limits{Share: 50})
	quotas.Of("team").Spent(time.Hour)
	close(ending)
	if err := r.Process(0, batches[0]); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// BenchmarkNeighbour is the time of a batch in a light operator that has one every
// two milliseconds: alone, beside heavy ones of another namespace, and beside the
// same ones when that namespace is limited.
func BenchmarkNeighbour(b *testing.B) {
	const heavy = 4
	for _, c := range []struct {
		name         string
		tasks, share int
	}{{"alone", 0, 0}, {"unlimited", heavy, 0}, {"limited=0.5", heavy, 500}, {"limited=0.5/one", 1, 500}, {"limited=0.1", heavy, 100}} {
		b.Run(c.name, func(b *testing.B) {
			var quotas quota.Accounts
			light := open(b, plan{module: cModule, function: "count_sum", pipeline: "light/p", deps: Deps{Quotas: &quotas}})
			light.discard = true
			own := counted(light, 1000, 4)
			quotas.Of("heavy").Limit(quota.Limits{Share: c.share})
			ending := make(chan struct{})
			var busy sync.WaitGroup
			for range c.tasks {
				r := open(b, plan{module: cModule, function: "count_sum", pipeline: "heavy/p", ending: ending, deps: Deps{Quotas: &quotas}})
				r.discard = true
				batches := counted(r, 1000, 4)
				busy.Go(func() {
					for i := 0; ; i++ {
						select {
						case <-ending:
							return
						default:
						}
						if err := r.Process(0, batches[i%len(batches)].Retain()); err != nil {
							if !errors.Is(err, context.Canceled) {
								b.Error(err)
							}
							return
						}
					}
				})
			}
			var took []time.Duration
			every := time.NewTicker(2 * time.Millisecond)
			for i := 0; b.Loop(); i++ {
				due := <-every.C
				if err := light.Process(0, own[i%len(own)].Retain()); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(due))
			}
			every.Stop()
			close(ending)
			busy.Wait()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
		})
	}
}

package scheduler

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestASlotGoesBackToItsWorkerThenToOneOfItsNameThenToItsMachine(t *testing.T) {
	offers := []Offer{{1, "a", "m1", 1}, {2, "b", "m2", 2}, {5, "c", "m3", 2}}
	wishes := []Wish{{Worker: 5, ID: "c", Node: "m3"}, {Worker: 3, ID: "b", Node: "m9"}, {Worker: 4, ID: "x", Node: "m1"}}
	slots, err := Place(wishes, offers)
	if err != nil || slots.Worker(0) != 5 || slots.Worker(1) != 2 || slots.Worker(2) != 1 {
		t.Errorf("got %v: %v", slots, err)
	}
}

func TestSlotsWithoutAWishAreSpreadInRuns(t *testing.T) {
	slots, err := Place(make([]Wish, 6), []Offer{{1, "", "", 4}, {2, "", "", 2}, {3, "", "", 4}})
	// One by one to whoever has most free: 1, 3, 1, 3, and then each has two left, so the first again twice in turn.
	if err != nil || slots.Len() != 6 || len(slots) != 3 || len(slots.Of(1)) != 3 || len(slots.Of(2)) != 1 || len(slots.Of(3)) != 2 {
		t.Errorf("got %v: %v", slots, err)
	}
}

func TestTooFewSlotsAreRefusedWithTheNumberMissingAndTheWayOut(t *testing.T) {
	_, err := Place(make([]Wish, 8), []Offer{{1, "", "", 4}, {2, "", "", 1}})
	if !errors.Is(err, ErrNoSlots) {
		t.Fatalf("got %v", err)
	}
	for _, part := range []string{"needs 8", "5 are free", "3 are missing", "--slots 3", "parallelism to 5"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
}

func TestNoPlacementGivesAWorkerMoreThanItHas(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		var offers []Offer
		total := 0
		for e := range 1 + rng.IntN(6) {
			o := Offer{Worker: uint64(e + 1), Node: string(rune('a' + rng.IntN(3))), Free: rng.IntN(5)}
			total += o.Free
			offers = append(offers, o)
		}
		wishes := make([]Wish, 1+rng.IntN(12))
		for i := range wishes {
			wishes[i] = Wish{Worker: uint64(rng.IntN(8)), Node: string(rune('a' + rng.IntN(4)))}
		}
		slots, err := Place(wishes, offers)
		if (err != nil) != (total < len(wishes)) {
			t.Fatalf("%d of %d slots: %v", len(wishes), total, err)
		}
		if err != nil {
			continue
		}
		if slots.Len() != len(wishes) {
			t.Fatalf("%d slots for %d", slots.Len(), len(wishes))
		}
		for _, o := range offers {
			if n := len(slots.Of(o.Worker)); n > o.Free {
				t.Fatalf("worker %d got %d of %d", o.Worker, n, o.Free)
			}
		}
		again, _ := Place(wishes, offers)
		for i := range wishes {
			if again.Worker(i) != slots.Worker(i) {
				t.Fatal("equal arguments gave another placement")
			}
		}
	}
}

func TestTheBackoffDoublesToItsCapAndJittersDownByAFifthAtMost(t *testing.T) {
	want := []int64{200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000, 60000}
	for i, ms := range want {
		low, high := int64(1)<<62, int64(0)
		for seed := range uint64(200) {
			pause := Backoff(i+1, seed)
			low, high = min(low, pause), max(high, pause)
		}
		if high > ms*millisecond || low <= ms*millisecond*4/5-1 || high-low < ms*millisecond/10 {
			t.Errorf("failure %d: %d to %d us, want within a fifth below %d ms and spread", i+1, low, high, ms)
		}
	}
}

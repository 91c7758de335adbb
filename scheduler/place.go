package scheduler

import (
	"errors"
	"fmt"

	"github.com/weirstream/weir/raftmeta/catalog"
)

// ErrNoSlots is wrapped by *NoSlotsError.
var ErrNoSlots = errors.New("not enough slots")

// NoSlotsError refuses a placement.
type NoSlotsError struct {
	Need, Free, Workers int
}

func (e *NoSlotsError) Error() string {
	text := fmt.Sprintf("needs %d slots, %d are free on %d workers: %d are missing; start a worker with more slots (weir worker --slots %d), stop another pipeline",
		e.Need, e.Free, e.Workers, e.Need-e.Free, e.Need-e.Free)
	if e.Free > 0 {
		text += fmt.Sprintf(", or lower the parallelism to %d", e.Free)
	}
	return text
}

func (e *NoSlotsError) Unwrap() error { return ErrNoSlots }

// NamespaceSlotsError refuses a placement that the namespace may not have.
type NamespaceSlotsError struct {
	Namespace         string
	Need, Held, Limit int
}

func (e *NamespaceSlotsError) Error() string {
	return fmt.Sprintf("needs %d slots, and namespace %s holds %d of the %d that are its limit; stop another of its pipelines, lower the parallelism, or have an admin raise it: weir namespace limit %s --slots %d",
		e.Need, e.Namespace, e.Held, e.Limit, e.Namespace, e.Held+e.Need)
}

func (e *NamespaceSlotsError) Unwrap() error { return ErrNoSlots }

// Offer is what a worker has free.
type Offer struct {
	Worker uint64
	ID     string // who it is across registrations
	Node   string // the machine
	Free   int
}

// Wish is where a slot was before: the worker itself, its id, its machine. Zero values wish nothing.
type Wish struct {
	Worker uint64
	ID     string
	Node   string
}

// Place gives each of a job's slots to a worker. A slot holds one task of every
// stage, so a graph needs as many slots as its highest parallelism. First each
// slot goes back to its worker, then to one of the same id, then of the same
// machine, because files lie in caches there; the rest is spread so that the
// fullest workers are spared. Equal arguments give equal placements.
func Place(wishes []Wish, offers []Offer) (catalog.Slots, error) {
	free, total := make([]int, len(offers)), 0
	for i, o := range offers {
		free[i] = o.Free
		total += o.Free
	}
	if total < len(wishes) {
		return nil, &NoSlotsError{Need: len(wishes), Free: total, Workers: len(offers)}
	}
	placed := make([]uint64, len(wishes))
	give := func(slot, offer int) {
		placed[slot] = offers[offer].Worker
		free[offer]--
	}
	near := []func(Wish, Offer) bool{
		func(w Wish, o Offer) bool { return w.Worker != 0 && w.Worker == o.Worker },
		func(w Wish, o Offer) bool { return w.ID != "" && w.ID == o.ID },
		func(w Wish, o Offer) bool { return w.Node != "" && w.Node == o.Node },
	}
	for _, matches := range near {
		for slot, w := range wishes {
			for i, o := range offers {
				if placed[slot] == 0 && free[i] > 0 && matches(w, o) {
					give(slot, i)
				}
			}
		}
	}
	// What is left is shared out first and dealt in runs then: neighbours on one worker keep the entry small.
	left := 0
	for _, w := range placed {
		if w == 0 {
			left++
		}
	}
	share := make([]int, len(offers))
	for range left {
		best := -1
		for i := range offers {
			if free[i] > 0 && (best < 0 || free[i] > free[best]) {
				best = i
			}
		}
		share[best]++
		free[best]--
	}
	at := 0
	for slot := range placed {
		if placed[slot] != 0 {
			continue
		}
		for share[at] == 0 {
			at++
		}
		placed[slot] = offers[at].Worker
		share[at]--
	}
	return catalog.SlotsOf(placed), nil
}

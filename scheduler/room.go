package scheduler

import "github.com/weirstream/weir/raftmeta/catalog"

// Room tells whether a job could be placed on that many slots, by the catalog
// alone: workers that do not leave, less what other jobs hold. The refusal is a
// *NoSlotsError. A worker that is silent and not yet given up still counts.
func Room(view *catalog.State, uid string, slots int) error {
	used := make(map[uint64]int)
	for p := range view.Pipelines("") {
		if p.UID == uid {
			continue
		}
		for i := range holds(p) {
			used[p.Job.Slots.Worker(i)]++
		}
	}
	refusal := &NoSlotsError{Need: slots}
	for w := range view.Workers() {
		if w.Draining {
			continue
		}
		refusal.Workers++
		refusal.Free += max(w.Slots-used[w.Epoch], 0)
	}
	if refusal.Free < slots {
		return refusal
	}
	return nil
}

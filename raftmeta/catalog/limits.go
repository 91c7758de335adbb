package catalog

import "fmt"

// Limits bound what a namespace may have; zero means no bound.
type Limits struct {
	Slots       int   `json:"slots,omitempty"`        // of pipelines that are to run, together
	Pipelines   int   `json:"pipelines,omitempty"`    // running or not
	Modules     int   `json:"modules,omitempty"`      // names
	ModuleBytes int64 `json:"module_bytes,omitempty"` // of all versions that are kept

	Guests GuestLimits `json:"guests,omitzero"`
}

// GuestLimits bound the guests of a namespace in each worker process, which alone knows what they use.
type GuestLimits struct {
	Share       int   `json:"share,omitempty"`        // of the time of a CPU, in thousandths
	MemoryBytes int64 `json:"memory_bytes,omitempty"` // of instances, the most that each may grow to
}

// Bounds of a share of a CPU, in thousandths. Below the least a call at its time
// limit would stop its task, and the checkpoint with it, for longer than 20 s.
const (
	MinGuestShare = 50
	MaxGuestShare = 1_000_000
)

// LimitChange names the limits that change: nil leaves one as it is, zero takes it away.
type LimitChange struct {
	Slots       *int   `json:"slots,omitempty"`
	Pipelines   *int   `json:"pipelines,omitempty"`
	Modules     *int   `json:"modules,omitempty"`
	ModuleBytes *int64 `json:"module_bytes,omitempty"`
	GuestShare  *int   `json:"guest_share,omitempty"`
	GuestMemory *int64 `json:"guest_memory,omitempty"`
}

// SetLimits changes limits of a namespace. What is above them already stays; only
// what would grow is refused.
type SetLimits struct {
	At        int64       `json:"at"`
	Namespace string      `json:"namespace"`
	Limits    LimitChange `json:"limits"`
}

func (c *SetLimits) apply(tx *txn) error {
	what := "limit namespace " + c.Namespace
	n, ok := tx.Namespace(c.Namespace)
	if !ok {
		return refuse(ErrNotFound, "%s: there is no such namespace", what)
	}
	next := *n
	change(&next.Limits.Slots, c.Limits.Slots)
	change(&next.Limits.Pipelines, c.Limits.Pipelines)
	change(&next.Limits.Modules, c.Limits.Modules)
	change(&next.Limits.ModuleBytes, c.Limits.ModuleBytes)
	change(&next.Limits.Guests.Share, c.Limits.GuestShare)
	change(&next.Limits.Guests.MemoryBytes, c.Limits.GuestMemory)
	l := next.Limits
	if l.Slots < 0 || l.Pipelines < 0 || l.Modules < 0 || l.ModuleBytes < 0 || l.Guests.MemoryBytes < 0 {
		return refuse(ErrInvalid, "%s: a limit below zero; 0 means no limit", what)
	}
	if s := l.Guests.Share; s != 0 && (s < MinGuestShare || s > MaxGuestShare) {
		return refuse(ErrInvalid, "%s: a guest-time of %d thousandths of a CPU; it is %d to %d, and 0 means no limit", what, s, MinGuestShare, MaxGuestShare)
	}
	if n.Limits == next.Limits {
		return nil
	}
	tx.namespaces = tx.namespaces.with(c.Namespace, &next)
	tx.changed(KindNamespace, c.Namespace)
	return nil
}

func change[T any](limit, to *T) {
	if to != nil {
		*limit = *to
	}
}

// Used counts what a namespace has of what its limits bound.
func (s *State) Used(namespace string) Limits {
	var used Limits
	for p := range s.Pipelines(namespace) {
		used.Pipelines++
		if p.Desired == DesiredRunning {
			used.Slots += p.Current.Slots()
		}
	}
	for m := range s.Modules(namespace) {
		used.Modules++
		for _, v := range m.Versions {
			used.ModuleBytes += v.SizeBytes
		}
	}
	return used
}

// within refuses a change that makes a namespace have more than it may. It compares
// with what there was, so that a namespace above a new limit can still shrink.
func (tx *txn) within(what, namespace string, before Limits) error {
	n, ok := tx.Namespace(namespace)
	if !ok || n.Limits == (Limits{}) {
		return nil
	}
	limit, now := n.Limits, tx.Used(namespace)
	for _, l := range []struct {
		name               string
		limit, before, now int64
		way                string
	}{
		{"pipelines", int64(limit.Pipelines), int64(before.Pipelines), int64(now.Pipelines), "delete one"},
		{"slots", int64(limit.Slots), int64(before.Slots), int64(now.Slots), "stop a pipeline or lower a parallelism"},
		{"modules", int64(limit.Modules), int64(before.Modules), int64(now.Modules), "delete one"},
		{"bytes", limit.ModuleBytes, before.ModuleBytes, now.ModuleBytes, "delete modules that no pipeline uses"},
	} {
		if l.limit > 0 && l.now > l.limit && l.now > l.before {
			return &LimitError{What: what, Namespace: namespace, Limit: l.name, Is: l.limit, Wanted: l.now, way: l.way}
		}
	}
	return nil
}

// LimitError refuses what would take a namespace beyond a limit.
type LimitError struct {
	What, Namespace, Limit string
	Is, Wanted             int64
	way                    string
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("%s: namespace %s would have %d %s, and its limit is %d", e.What, e.Namespace, e.Wanted, e.Limit, e.Is)
}

// Hint is the way out.
func (e *LimitError) Hint() string {
	return fmt.Sprintf("%s, or have an admin raise it: weir namespace limit %s --%s %d", e.way, e.Namespace, e.Limit, e.Wanted)
}

// Unwrap makes it an ErrLimit.
func (e *LimitError) Unwrap() error { return ErrLimit }

package catalog

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// Slots says which worker holds each slot of a job, by epoch, in runs: slot i
// holds the i-th task of every stage whose parallelism is above i.
type Slots []Run

// Run is a number of neighbouring slots on one worker.
type Run struct {
	Worker uint64
	Count  int
}

// Len counts the slots.
func (s Slots) Len() int {
	n := 0
	for _, r := range s {
		n += r.Count
	}
	return n
}

// Worker returns the epoch of the worker that holds slot i, or 0.
func (s Slots) Worker(i int) uint64 {
	for _, r := range s {
		if i < r.Count {
			return r.Worker
		}
		i -= r.Count
	}
	return 0
}

// Workers lists the epochs, ascending and once each.
func (s Slots) Workers() []uint64 {
	var epochs []uint64
	for _, r := range s {
		epochs = append(epochs, r.Worker)
	}
	slices.Sort(epochs)
	return slices.Compact(epochs)
}

// Of lists the slots that a worker holds, ascending.
func (s Slots) Of(epoch uint64) []int {
	var held []int
	at := 0
	for _, r := range s {
		if r.Worker == epoch {
			for i := range r.Count {
				held = append(held, at+i)
			}
		}
		at += r.Count
	}
	return held
}

// SlotsOf makes runs of a worker epoch per slot.
func SlotsOf(epochs []uint64) Slots {
	var s Slots
	for _, e := range epochs {
		if n := len(s); n > 0 && s[n-1].Worker == e {
			s[n-1].Count++
			continue
		}
		s = append(s, Run{Worker: e, Count: 1})
	}
	return s
}

// MarshalJSON packs the runs: for each the epoch as a zigzag difference to the
// one before and the count, as varints, in base64. 256 one-slot workers take about 700 bytes.
func (s Slots) MarshalJSON() ([]byte, error) {
	var b []byte
	last := uint64(0)
	for _, r := range s {
		b = binary.AppendVarint(b, int64(r.Worker-last))
		b = binary.AppendUvarint(b, uint64(r.Count))
		last = r.Worker
	}
	return json.Marshal(base64.RawURLEncoding.EncodeToString(b))
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (s *Slots) UnmarshalJSON(text []byte) error {
	*s = nil
	var packed string
	if err := json.Unmarshal(text, &packed); err != nil {
		return err
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(packed)
	if err != nil {
		return fmt.Errorf("decode slots: %w", err)
	}
	last, slots := uint64(0), 0
	for len(b) > 0 {
		step, n := binary.Varint(b)
		if n <= 0 {
			return refuse(ErrDamaged, "decode slots: a broken worker epoch")
		}
		count, m := binary.Uvarint(b[n:])
		if m <= 0 || count == 0 || count > jobgraph.MaxParallelism {
			return refuse(ErrDamaged, "decode slots: a broken count")
		}
		if slots += int(count); slots > jobgraph.MaxParallelism {
			return refuse(ErrDamaged, "decode slots: %d slots, the limit is %d", slots, jobgraph.MaxParallelism)
		}
		last += uint64(step)
		*s = append(*s, Run{Worker: last, Count: int(count)})
		b = b[n+m:]
	}
	return nil
}

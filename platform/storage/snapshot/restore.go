package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/state"
)

// Loader takes entries in; a state.Backend is one.
type Loader interface {
	Load(e state.Entry) error
}

// Restore loads an operator's keyed state in a range of key groups. Segments are
// read and decompressed beside each other and merged on the way, so that the
// loader gets each thing once, in order of hashes, and no tombstones. An
// operator that the checkpoint does not know has no state: no error.
func Restore(ctx context.Context, store blob.Store, m *Manifest, operator string, g Groups, to Loader) error {
	o := m.Operator(operator)
	if o == nil {
		return nil
	}
	for _, u := range o.units() {
		common, some := u.groups.intersect(g)
		if !some || len(u.live) == 0 {
			continue
		}
		err := mergeSegments(ctx, store, operator, u.live, common, func(e state.Entry) error {
			if e.Tombstone {
				return nil
			}
			return to.Load(e)
		})
		if err != nil {
			return fmt.Errorf("restore operator %s, key groups %s, from checkpoint %d: %w", operator, common, m.Meta.Checkpoint, err)
		}
	}
	return nil
}

// mergeSegments visits what is valid in a range, in order. Of equal entries the
// newest segment's counts; a tombstone without sub ends everything that older
// segments hold of its state and key.
func mergeSegments(ctx context.Context, store blob.Store, operator string, oldestFirst []SegmentRef, g Groups, visit func(state.Entry) error) error {
	var open []*cursor
	defer func() {
		for _, c := range open {
			c.close()
		}
	}()
	for _, s := range oldestFirst {
		c, err := openCursor(ctx, store, operator, s, g)
		if err != nil {
			return err
		}
		open = append(open, c)
	}
	return mergeStreams(open, visit)
}

// stream is the entries of one segment in a range, in order.
type stream interface {
	// next goes to the next entry; false at the end or at a failure.
	next() bool
	entry() *state.Entry
	failure() error
}

type aged struct {
	stream
	age int // higher is newer
}

// mergeStreams is mergeSegments of what is open already.
func mergeStreams[S stream](oldestFirst []S, visit func(state.Entry) error) error {
	k := merger{}
	for age, s := range oldestFirst {
		if s.next() {
			k.live = append(k.live, aged{s, age})
		} else if err := s.failure(); err != nil {
			return err
		}
	}
	return k.run(visit)
}

type merger struct {
	live []aged // oldest first

	ended    state.Entry // the last tombstone without sub
	endedAge int
}

func (k *merger) run(visit func(state.Entry) error) error {
	for len(k.live) > 0 {
		// Few cursors: going through them beats a heap.
		best := 0
		for i := 1; i < len(k.live); i++ {
			if compareEntries(*k.live[i].entry(), *k.live[best].entry()) <= 0 {
				best = i // the newest of the smallest
			}
		}
		e, age := k.live[best].entry(), k.live[best].age
		if !k.isEnded(e, age) {
			if e.Tombstone && e.Sub == nil {
				k.end(e, age)
			}
			if err := visit(*e); err != nil {
				return err
			}
		}
		if err := k.advance(best); err != nil {
			return err
		}
	}
	return nil
}

func (k *merger) isEnded(e *state.Entry, age int) bool {
	return age < k.endedAge && e.Hash == k.ended.Hash && e.State == k.ended.State && bytes.Equal(e.Key, k.ended.Key)
}

func (k *merger) end(e *state.Entry, age int) {
	k.ended = state.Entry{Hash: e.Hash, State: e.State, Key: append(k.ended.Key[:0], e.Key...)}
	k.endedAge = age
}

// advance moves on every cursor that stands at the same thing as the winner,
// the winner last: the others are held against its entry.
func (k *merger) advance(winner int) error {
	for i := winner - 1; i >= 0; i-- {
		if len(k.live) > 1 && compareEntries(*k.live[i].entry(), *k.live[winner].entry()) == 0 {
			gone, err := k.step(i)
			if err != nil {
				return err
			}
			if gone {
				winner--
			}
		}
	}
	_, err := k.step(winner)
	return err
}

func (k *merger) step(i int) (gone bool, err error) {
	c := k.live[i]
	if c.next() {
		return false, nil
	}
	k.live = append(k.live[:i], k.live[i+1:]...)
	return true, c.failure()
}

// OpenChunk reads a chunk of an item and checks it.
func OpenChunk(ctx context.Context, store blob.Store, c Chunk) ([]byte, error) {
	b, err := readExtent(ctx, store, c.Extent, 0, c.Length)
	if err != nil {
		return nil, fmt.Errorf("read chunk: %w", err)
	}
	if checksum(b) != c.CRC {
		name, at := c.place()
		return nil, &DamageError{Object: name, Block: -1, Offset: at, Reason: "the checksum of a chunk is wrong"}
	}
	return b, nil
}

// OpenItem reads an item whole.
func OpenItem(ctx context.Context, store blob.Store, ref ItemRef) (Item, error) {
	item := Item{Kind: ref.Kind, Key: ref.Key}
	for _, c := range ref.Chunks {
		b, err := OpenChunk(ctx, store, c)
		if err != nil {
			return Item{}, fmt.Errorf("read item %s %s: %w", ref.Kind, ref.Key, err)
		}
		item.Data = append(item.Data, b)
	}
	return item, nil
}

// Verify reads everything that a manifest needs and returns every fault: what is
// missing, and what is damaged, with its place.
func Verify(ctx context.Context, store blob.Store, m *Manifest) error {
	var faults []error
	for _, o := range m.Operators {
		for _, s := range o.Segments {
			if err := verifySegment(ctx, store, o.Operator, s); err != nil {
				faults = append(faults, err)
			}
		}
		for _, t := range o.Tasks {
			for _, item := range t.Items {
				if _, err := OpenItem(ctx, store, item); err != nil {
					faults = append(faults, fmt.Errorf("operator %s, task %d: %w", o.Operator, t.Task, err))
				}
			}
		}
	}
	return errors.Join(faults...)
}

func verifySegment(ctx context.Context, store blob.Store, operator string, s SegmentRef) error {
	c, err := openCursor(ctx, store, operator, s, AllGroups())
	if err != nil {
		return err
	}
	defer c.close()
	var last state.Entry
	var count int64
	for c.next() {
		e := c.entry()
		if count > 0 && compareEntries(last, *e) >= 0 {
			return c.damage(c.block, "entries are out of order")
		}
		last = state.Entry{Hash: e.Hash, State: e.State, Key: bytes.Clone(e.Key)}
		if e.Sub != nil {
			last.Sub = append([]byte{}, e.Sub...)
		}
		count++
	}
	if c.err == nil && count != s.Entries {
		return c.damage(-1, fmt.Sprintf("it has %d entries, the manifest says %d", count, s.Entries))
	}
	return c.err
}

package batch

import (
	"fmt"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/key"
	"github.com/weirstream/weir/abi/schema"
)

// Keyer computes canonical keys and their hashes of batches of one schema. It
// keeps its memory; one goroutine uses it.
type Keyer struct {
	Keys   key.Keys // of the last batch, one per row that is meant
	Hashes []uint64 // likewise

	index []int
	cols  []frame.Column
	enc   key.Encoder
}

// NewKeyer makes a Keyer for the named key columns.
func NewKeyer(s *schema.Schema, columns []string) (*Keyer, error) {
	k := &Keyer{}
	for _, name := range columns {
		i := s.Index(name)
		if i < 0 {
			return nil, fmt.Errorf("key column %q is not in the schema %s", name, s)
		}
		if !s.Fields[i].Type.Kind.Keyable() {
			return nil, fmt.Errorf("key column %q has the type %s, which cannot be a key", name, s.Fields[i].Type)
		}
		k.index = append(k.index, i)
	}
	k.cols = make([]frame.Column, len(k.index))
	return k, nil
}

// Columns gives the key columns of the last batch.
func (k *Keyer) Columns() []frame.Column { return k.cols }

// Encode computes keys and hashes of the rows that are meant. Hashes that the
// batch brings along are taken as they are.
func (k *Keyer) Encode(b *Batch) error {
	for i, c := range k.index {
		k.cols[i] = b.Columns[c]
	}
	if err := k.enc.Encode(k.cols, b.Sel, b.Len(), &k.Keys); err != nil {
		return err
	}
	if b.Hashes == nil {
		k.Hashes = key.HashAll(&k.Keys, k.Hashes)
		return nil
	}
	n := b.Len()
	if cap(k.Hashes) < n {
		k.Hashes = make([]uint64, roundUp(n))
	}
	k.Hashes = k.Hashes[:n]
	gather(k.Hashes, b.Hashes, b.Sel)
	return nil
}

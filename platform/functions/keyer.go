package functions

import (
	"fmt"

	"github.com/weirstream/weir/abi/key"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
)

// Keyer gives the keys of state that belongs to addresses: the canonical key of
// (type, id), under the hash of the id alone, by which messages are partitioned.
type Keyer struct {
	Bytes   []byte   // key i of the last batch is Bytes[Offsets[i]:Offsets[i+1]]
	Offsets []int32  //
	Hashes  []uint64 // likewise

	both, id *batch.Keyer
}

// NewKeyer makes a Keyer for the named columns of type and id.
func NewKeyer(s *schema.Schema, typeColumn, idColumn string) (*Keyer, error) {
	both, err := batch.NewKeyer(s, []string{typeColumn, idColumn})
	if err != nil {
		return nil, err
	}
	id, err := batch.NewKeyer(s, []string{idColumn})
	return &Keyer{both: both, id: id}, err
}

// Encode computes keys and hashes of the rows that are meant; never from hashes
// that the batch brings along, which may be of another column.
func (k *Keyer) Encode(b *batch.Batch) error {
	v := b.Retain().View()
	defer v.Release()
	v.Hashes = nil
	if err := k.both.Encode(v); err != nil {
		return err
	}
	if err := k.id.Encode(v); err != nil {
		return err
	}
	k.Bytes, k.Offsets, k.Hashes = k.both.Keys.Bytes, k.both.Keys.Offsets, k.id.Hashes
	return nil
}

// AddressOfKey reads a key that a Keyer has made: type and id as canonical texts,
// of which the first ends with 00 01 and has each 00 as 00 ff.
func AddressOfKey(b []byte) (Address, error) {
	bad := fmt.Errorf("%w: key %x", ErrAddress, b)
	if len(b) == 0 || b[0] != 2 {
		return Address{}, bad
	}
	b = b[1:]
	var typ []byte
	for i := 0; ; i++ {
		switch {
		case i+1 >= len(b):
			return Address{}, bad
		case b[i] != 0:
			typ = append(typ, b[i])
			continue
		case b[i+1] == 0xff:
			typ = append(typ, 0)
			i++
			continue
		case b[i+1] != 1 || i+2 >= len(b) || b[i+2] != 2:
			return Address{}, bad
		}
		return Address{Type: string(typ), ID: string(b[i+3:])}, nil
	}
}

// HashOfKey is the hash of such a key: that of its id as a key of one text.
func HashOfKey(b []byte) (uint64, error) {
	a, err := AddressOfKey(b)
	if err != nil {
		return 0, err
	}
	return key.Hash(append([]byte{2}, a.ID...)), nil
}

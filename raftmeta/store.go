package raftmeta

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// lockTimeout is how long Open waits for another process to let go of the log.
const lockTimeout = 2 * time.Second

var (
	bucketLog    = []byte("log")
	bucketStable = []byte("stable")
	castagnoli   = crc32.MakeTable(crc32.Castagnoli)
)

// store keeps Raft's log and its few stable values (term, vote) in one bbolt
// file. Every write is synced before it returns: an acknowledged entry survives
// kill -9 and, as far as the disk keeps its word, power loss.
//
// A log record, little-endian:
//
//	0       4      12      13           21          25
//	+-------+------+------+------------+-----------+------+------------+
//	|CRC32C | term | type | appendedAt | data size | data | extensions |
//	+-------+------+------+------------+-----------+------+------------+
//
// The checksum covers the index and everything after it: bbolt itself would give back a flipped bit.
type store struct {
	db   *bbolt.DB
	path string
}

const recordHead = 25

func openStore(path string) (*store, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockTimeout, FreelistType: bbolt.FreelistMapType})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("open raft log %s: %w: another weir server uses this directory; stop it or choose another --data-dir", path, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open raft log %s: %w: %w", path, ErrDamaged, err)
	}
	s := &store{db: db, path: path}
	err = db.Update(func(tx *bbolt.Tx) error {
		if _, err := tx.CreateBucketIfNotExists(bucketLog); err != nil {
			return err
		}
		_, err := tx.CreateBucketIfNotExists(bucketStable)
		return err
	})
	if err == nil {
		err = s.verify()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open raft log %s: %w", path, err), db.Close())
	}
	return s, nil
}

// verify reads the whole log once. Raft panics on an entry that it cannot read
// later, so a damaged one is refused here, by its index.
func (s *store) verify() error {
	return s.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketLog).Cursor()
		var last uint64
		for k, v := c.First(); k != nil; k, v = c.Next() {
			if len(k) != 8 {
				return fmt.Errorf("%w: a key of %d bytes", ErrDamaged, len(k))
			}
			index := binary.BigEndian.Uint64(k)
			if last != 0 && index != last+1 {
				return fmt.Errorf("%w: entry %d follows %d; restore a backup", ErrDamaged, index, last)
			}
			last = index
			if err := decodeRecord(index, v, new(raft.Log)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *store) Close() error { return s.db.Close() }

// IsMonotonic tells Raft that the log has no gaps, so verify may insist on that.
func (s *store) IsMonotonic() bool { return true }

// FirstIndex implements raft.LogStore.
func (s *store) FirstIndex() (uint64, error) {
	return s.edge(func(c *bbolt.Cursor) []byte { k, _ := c.First(); return k })
}

// LastIndex implements raft.LogStore.
func (s *store) LastIndex() (uint64, error) {
	return s.edge(func(c *bbolt.Cursor) []byte { k, _ := c.Last(); return k })
}

func (s *store) edge(key func(*bbolt.Cursor) []byte) (index uint64, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		if k := key(tx.Bucket(bucketLog).Cursor()); len(k) == 8 {
			index = binary.BigEndian.Uint64(k)
		}
		return nil
	})
	return index, err
}

// GetLog implements raft.LogStore.
func (s *store) GetLog(index uint64, log *raft.Log) error {
	return s.db.View(func(tx *bbolt.Tx) error {
		v := tx.Bucket(bucketLog).Get(logKey(index))
		if v == nil {
			return raft.ErrLogNotFound
		}
		return decodeRecord(index, v, log)
	})
}

// StoreLog implements raft.LogStore.
func (s *store) StoreLog(log *raft.Log) error { return s.StoreLogs([]*raft.Log{log}) }

// StoreLogs implements raft.LogStore.
func (s *store) StoreLogs(logs []*raft.Log) error {
	err := s.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketLog)
		b.FillPercent = 0.9 // keys only rise
		for _, log := range logs {
			if err := b.Put(logKey(log.Index), encodeRecord(log)); err != nil {
				return fmt.Errorf("entry %d: %w", log.Index, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("store raft log: %w", err)
	}
	return nil
}

// DeleteRange implements raft.LogStore; both ends are included.
func (s *store) DeleteRange(first, last uint64) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucketLog)
		var keys [][]byte
		c := b.Cursor()
		for k, _ := c.Seek(logKey(first)); k != nil && binary.BigEndian.Uint64(k) <= last; k, _ = c.Next() {
			keys = append(keys, k)
		}
		for _, k := range keys {
			if err := b.Delete(k); err != nil {
				return fmt.Errorf("delete raft log %d to %d: %w", first, last, err)
			}
		}
		return nil
	})
}

// Set implements raft.StableStore.
func (s *store) Set(key, value []byte) error {
	return s.db.Update(func(tx *bbolt.Tx) error { return tx.Bucket(bucketStable).Put(key, value) })
}

// errNoValue has the text by which Raft knows a missing value from a broken store.
var errNoValue = errors.New("not found")

// Get implements raft.StableStore.
func (s *store) Get(key []byte) (value []byte, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		v := tx.Bucket(bucketStable).Get(key)
		if v == nil {
			return errNoValue
		}
		value = append([]byte{}, v...)
		return nil
	})
	return value, err
}

// SetUint64 implements raft.StableStore.
func (s *store) SetUint64(key []byte, value uint64) error {
	return s.Set(key, binary.BigEndian.AppendUint64(nil, value))
}

// GetUint64 implements raft.StableStore.
func (s *store) GetUint64(key []byte) (uint64, error) {
	v, err := s.Get(key)
	if err != nil {
		return 0, err
	}
	if len(v) != 8 {
		return 0, fmt.Errorf("stable value %s: %w: %d bytes", key, ErrDamaged, len(v))
	}
	return binary.BigEndian.Uint64(v), nil
}

func logKey(index uint64) []byte { return binary.BigEndian.AppendUint64(make([]byte, 0, 8), index) }

func encodeRecord(log *raft.Log) []byte {
	b := make([]byte, recordHead, recordHead+len(log.Data)+len(log.Extensions))
	binary.LittleEndian.PutUint64(b[4:], log.Term)
	b[12] = byte(log.Type)
	if !log.AppendedAt.IsZero() {
		binary.LittleEndian.PutUint64(b[13:], uint64(log.AppendedAt.UnixNano()))
	}
	binary.LittleEndian.PutUint32(b[21:], uint32(len(log.Data)))
	b = append(append(b, log.Data...), log.Extensions...)
	binary.LittleEndian.PutUint32(b, recordSum(log.Index, b))
	return b
}

func decodeRecord(index uint64, b []byte, log *raft.Log) error {
	if len(b) < recordHead || recordSum(index, b) != binary.LittleEndian.Uint32(b) {
		return fmt.Errorf("read raft log entry %d: %w: its checksum does not fit; restore a backup", index, ErrDamaged)
	}
	size := uint64(binary.LittleEndian.Uint32(b[21:]))
	if uint64(len(b)-recordHead) < size {
		return fmt.Errorf("read raft log entry %d: %w: %d bytes of %d", index, ErrDamaged, len(b)-recordHead, size)
	}
	data := append([]byte{}, b[recordHead:]...) // bbolt's bytes end with the transaction
	*log = raft.Log{Index: index, Term: binary.LittleEndian.Uint64(b[4:]), Type: raft.LogType(b[12]), Data: data[:size:size]}
	if nanos := int64(binary.LittleEndian.Uint64(b[13:])); nanos != 0 {
		log.AppendedAt = time.Unix(0, nanos)
	}
	if rest := data[size:]; len(rest) > 0 {
		log.Extensions = rest
	}
	return nil
}

func recordSum(index uint64, b []byte) uint32 {
	sum := crc32.Checksum(binary.LittleEndian.AppendUint64(make([]byte, 0, 8), index), castagnoli)
	return crc32.Update(sum, castagnoli, b[4:])
}

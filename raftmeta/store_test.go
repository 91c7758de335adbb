package raftmeta

import (
	"errors"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"
)

func logAt(index uint64, data string) *raft.Log {
	return &raft.Log{Index: index, Term: 3, Type: raft.LogCommand, Data: []byte(data), AppendedAt: time.Unix(5, 7)}
}

func TestTheStoreGivesBackWhatRaftStoredAlsoAfterReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "raft.db")
	s, err := openStore(path)
	if err != nil {
		t.Fatal(err)
	}
	if first, _ := s.FirstIndex(); first != 0 {
		t.Errorf("an empty log begins at %d", first)
	}
	if _, err := s.Get([]byte("x")); err == nil || err.Error() != "not found" {
		t.Errorf("a missing value gave %v", err)
	}
	if err := s.GetLog(1, new(raft.Log)); !errors.Is(err, raft.ErrLogNotFound) {
		t.Errorf("a missing entry gave %v", err)
	}
	want := logAt(2, "two")
	want.Extensions = []byte("more")
	if err := s.StoreLogs([]*raft.Log{logAt(1, ""), want, logAt(3, "three"), logAt(4, "four")}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.SetUint64([]byte("term"), 9), s.Set([]byte("vote"), []byte("a")), s.DeleteRange(1, 1), s.DeleteRange(4, 9), s.Close()); err != nil {
		t.Fatal(err)
	}
	if s, err = openStore(path); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	first, _ := s.FirstIndex()
	last, _ := s.LastIndex()
	term, _ := s.GetUint64([]byte("term"))
	vote, _ := s.Get([]byte("vote"))
	if first != 2 || last != 3 || term != 9 || string(vote) != "a" {
		t.Errorf("first %d, last %d, term %d, vote %s", first, last, term, vote)
	}
	var got raft.Log
	if err := s.GetLog(2, &got); err != nil || !reflect.DeepEqual(&got, want) {
		t.Errorf("got %+v, want %+v: %v", got, want, err)
	}
}

func TestADirectoryInUseIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "raft.db")
	s, err := openStore(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := openStore(path); err == nil {
		t.Error("the log was opened twice")
	}
}

func TestADamagedLogIsRefusedByTheIndexOfItsEntry(t *testing.T) {
	for name, damage := range map[string]func(*bbolt.Bucket) error{
		"a flipped bit": func(b *bbolt.Bucket) error {
			v := append([]byte{}, b.Get(logKey(2))...)
			v[len(v)-1] ^= 1
			return b.Put(logKey(2), v)
		},
		"a cut entry":      func(b *bbolt.Bucket) error { return b.Put(logKey(2), b.Get(logKey(2))[:10]) },
		"a gap":            func(b *bbolt.Bucket) error { return b.Delete(logKey(2)) },
		"an entry swapped": func(b *bbolt.Bucket) error { return b.Put(logKey(2), b.Get(logKey(1))) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, err := openStore(filepath.Join(dir, "raft.db"))
			if err != nil {
				t.Fatal(err)
			}
			err = s.StoreLogs([]*raft.Log{logAt(1, "one"), logAt(2, "two"), logAt(3, "three")})
			err = errors.Join(err, s.db.Update(func(tx *bbolt.Tx) error { return damage(tx.Bucket(bucketLog)) }), s.Close())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Open(within(t), Options{NodeID: "a", DataDir: dir}); !errors.Is(err, ErrDamaged) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add(uint64(2), encodeRecord(logAt(2, "two"))[4:])
	f.Fuzz(func(t *testing.T, index uint64, body []byte) {
		b := append(make([]byte, 4), body...)
		sum := recordSum(index, b)
		b[0], b[1], b[2], b[3] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
		var log raft.Log
		if err := decodeRecord(index, b, &log); err != nil {
			return
		}
		if got := encodeRecord(&log); string(got) != string(b) {
			t.Fatalf("%x came back as %x", b, got)
		}
	})
}

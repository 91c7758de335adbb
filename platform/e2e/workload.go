package e2e

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/key"
	"github.com/weirstream/weir/abi/schema"
)

// Schemas of the functions chaos and chaos2 of the module benchguest.
const (
	StepColumns    = "key:utf8,seq:int64,value:int64"
	ReachedColumns = "key:utf8,seq:int64,sum:int64,bucket:int32"
	BucketColumns  = "bucket:int32,count:int64,sum:int64"
)

const (
	guestBuckets = 64 // benchguest.Buckets
	guestKept    = 4  // entries that chaos keeps of a key's map
	maxValue     = 1000
	maxFrameRows = 400
)

// Workload is what is fed: records over keys, each key's sequence counting up by
// one. It follows from its seed alone.
type Workload struct {
	Seed       uint64
	Keys       int
	Partitions int
	Records    int
	partitions [][]step // in the order in which they are fed
	counts     []int32  // per key
}

type step struct{ key, seq int32 }

// NewWorkload deals records out among keys and partitions.
func NewWorkload(seed uint64, records, keys, partitions int) *Workload {
	w := &Workload{Seed: seed, Keys: keys, Partitions: partitions, Records: records,
		partitions: make([][]step, partitions), counts: make([]int32, keys)}
	rng := rand.New(rand.NewPCG(seed, 1))
	home := make([]int, keys)
	for k := range home {
		home[k] = key.Partition([]byte(KeyName(k)), partitions)
	}
	for range records {
		k := rng.IntN(keys)
		w.counts[k]++
		w.partitions[home[k]] = append(w.partitions[home[k]], step{int32(k), w.counts[k]})
	}
	return w
}

// KeyName is the n-th key.
func KeyName(n int) string { return fmt.Sprintf("k%05d", n) }

// keyNumber is the reverse of KeyName; -1 for what is no key of the workload.
func (w *Workload) keyNumber(name []byte) int {
	if len(name) != 6 || name[0] != 'k' {
		return -1
	}
	n := 0
	for _, c := range name[1:] {
		if c < '0' || c > '9' {
			return -1
		}
		n = n*10 + int(c-'0')
	}
	if n >= w.Keys {
		return -1
	}
	return n
}

// value of a key's record: a hash, so that sums tell which records are in them.
func (w *Workload) value(key, seq int) int64 {
	x := w.Seed ^ uint64(key)<<32 ^ uint64(seq)
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return int64((x^x>>31)%maxValue) + 1
}

// bucketOf is FNV-1a over the key, as the guest's second stage takes it.
func bucketOf(key string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key)) // never fails
	return int(h.Sum32() % guestBuckets)
}

// frames cuts a partition's records into stored frames of random sizes, from the
// given row on, and yields each with the number of rows up to its end.
func (w *Workload) frames(partition int, yield func(msg []byte, rows int) bool) error {
	rng := rand.New(rand.NewPCG(w.Seed, 100+uint64(partition)))
	columns := schema.MustParse(StepColumns)
	b := frame.NewBuilder(columns)
	var enc frame.StoredEncoder
	steps := w.partitions[partition]
	for at := 0; at < len(steps); {
		n := min(1+rng.IntN(maxFrameRows), len(steps)-at)
		b.Reset()
		for _, s := range steps[at : at+n] {
			b.Column(0).AppendString(KeyName(int(s.key)))
			b.Column(1).AppendInt64(int64(s.seq))
			b.Column(2).AppendInt64(w.value(int(s.key), int(s.seq)))
		}
		msg, err := enc.Append(nil, &frame.Stored{Schema: columns, Rows: b.Rows(), Columns: b.Columns()}, frame.CodecNone)
		if err != nil {
			return fmt.Errorf("encode frame of partition %d: %w", partition, err)
		}
		at += n
		if !yield(msg, at) {
			return nil
		}
	}
	return nil
}

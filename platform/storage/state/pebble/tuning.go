package pebble

import (
	"bytes"
	"context"
	"log/slog"
	"runtime"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	fileCacheShards = 4
	maxOpenFiles    = 1000

	// Small generations go through a memtable; large ones are files at once. A
	// backend with little memory has a small one. Pebble takes it off the blocks'.
	memTableBytes      = 4 << 20
	leastMemTableBytes = 256 << 10
	memTableShare      = 8
	// A read looks at one block, and the page cache has most of them: small
	// blocks mean less to check for one key. They are not compressed, since that
	// took a fifth of the processor time of updates, and the page cache holds less
	// of memory that nobody else wants. Small blocks of the index too: one that the
	// cache does not hold is read for one key.
	blockBytes      = 4 << 10
	indexBlockBytes = 16 << 10
	// bloomBits keep one read in a hundred from looking at a block in vain. A read
	// asks each file of level 0, so those have more.
	bloomBits   = 10
	l0BloomBits = 16
	// A large generation covers all hashes, so that merging it down rewrites all
	// of the next level. Several are gathered before that, at the price that a key
	// written lately is read from its newest block and from the one below; and up
	// to a gigabyte there is one level below.
	l0Threshold     = 12
	l0Stop          = 64
	baseLevelBytes  = 1 << 30
	levelFileBytes  = 32 << 20
	baseFileBytes   = 16 << 20
	spillFileBytes  = 64 << 20
	minCompactions  = 1
	formatOfTables  = sstable.TableFormatMax
	formatOfFolders = pebble.FormatNewest
)

// comparer orders bytewise. A row's prefix is its tag and hash, which is what
// filters hold; a timer's row has no filter's use.
var comparer = func() *pebble.Comparer {
	c := *pebble.DefaultComparer
	c.Name = "weir.state.v1"
	c.Split = func(key []byte) int {
		if len(key) > 0 && key[0] == tagRow {
			return min(prefixBytes, len(key))
		}
		return len(key)
	}
	c.ComparePointSuffixes, c.CompareRangeSuffixes = bytes.Compare, bytes.Compare
	return &c
}()

func (s *Store) options() *pebble.Options {
	o := &pebble.Options{
		FS: unsynced{vfs.Default}, Cache: s.cache, FileCache: s.files, Comparer: comparer,
		DisableWAL: true, NoSyncOnClose: true, BytesPerSync: writtenBytes, FormatMajorVersion: formatOfFolders,
		MemTableSize: uint64(min(memTableBytes, max(leastMemTableBytes, s.share()/memTableShare))), MemTableStopWritesThreshold: 4,
		L0CompactionThreshold: l0Threshold, L0StopWritesThreshold: l0Stop, L0CompactionFileThreshold: 1000,
		LBaseMaxBytes: baseLevelBytes,
		CompactionConcurrencyRange: func() (int, int) {
			return minCompactions, max(minCompactions, runtime.GOMAXPROCS(0)/2)
		},
		DisableTableStats: true,
		LoggerAndTracer:   logger{s.log},
	}
	o.Experimental.ReadSamplingMultiplier = -1 // reads are of filters, not of many levels
	for i := range o.Levels {
		o.Levels[i] = pebble.LevelOptions{
			BlockSize: blockBytes, IndexBlockSize: indexBlockBytes,
			FilterPolicy: bloom.FilterPolicy(bloomBits), FilterType: pebble.TableFilter,
			Compression: func() *sstable.CompressionProfile { return sstable.NoCompression },
		}
		o.TargetFileSizes[i] = levelFileBytes
	}
	o.Levels[0].FilterPolicy = bloom.FilterPolicy(l0BloomBits)
	o.TargetFileSizes[0] = baseFileBytes
	o.EnsureDefaults()
	return o
}

// writtenBytes of a file are handed to the disk at a time. Left to the system they
// gather in the page cache, two gigabytes in a benchmark, and whoever syncs on the
// same disk, as the catalog and the log do, may have to wait for them.
const writtenBytes = 1 << 20

// unsynced is a file system that keeps nothing safe: what is in the folder is
// deleted on opening. It never waits until something is on the disk, only until the
// disk takes it.
type unsynced struct{ vfs.FS }

type unsyncedFile struct{ vfs.File }

func (unsyncedFile) Sync() error     { return nil }
func (unsyncedFile) SyncData() error { return nil }

// SyncTo begins to write what comes before an offset.
func (f unsyncedFile) SyncTo(offset int64) (bool, error) {
	beginWriting(f.Fd(), offset)
	return false, nil
}
func withoutSync(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return unsyncedFile{f}, nil
}

func (u unsynced) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return withoutSync(u.FS.Create(name, c))
}

func (u unsynced) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return withoutSync(u.FS.OpenReadWrite(name, c, opts...))
}

func (u unsynced) OpenDir(name string) (vfs.File, error) { return withoutSync(u.FS.OpenDir(name)) }

func (u unsynced) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return withoutSync(u.FS.ReuseForWrite(from, to, c))
}

func (u unsynced) Unwrap() vfs.FS { return u.FS }

// logger passes on what Pebble finds wrong.
type logger struct{ to *slog.Logger }

func (l logger) Infof(string, ...any) {}

func (l logger) Errorf(format string, args ...any) {
	l.to.Error("state on disk", "what", sprintf(format, args...))
}

// Fatalf is for a folder that cannot be gone on with; Pebble expects no return.
func (l logger) Fatalf(format string, args ...any) {
	panic("pebble: " + sprintf(format, args...))
}

func (logger) Eventf(context.Context, string, ...any) {}

func (logger) IsTracingEnabled(context.Context) bool { return false }

package pebble

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/platform/storage/state/statetest"
)

// testStore has tiers of at most that many bytes.
func testStore(t testing.TB, tierBytes int64) *Store {
	t.Helper()
	s, err := OpenStore(StoreOptions{Dir: filepath.Join(t.TempDir(), "state"), MemoryBytes: MinMemoryBytes})
	if err != nil {
		t.Fatal(err)
	}
	s.tiers, s.least, s.most = tierBytes, tierBytes, 1<<20 // however many a test leaves open
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func open(t testing.TB, s *Store, opts state.Options) *Backend {
	t.Helper()
	b, err := s.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPebble(t *testing.T) {
	for name, bytes := range map[string]int64{"everything in memory": 64 << 20, "some in memory": 16 << 10, "hardly anything in memory": 1} {
		t.Run(name, func(t *testing.T) {
			s := testStore(t, bytes)
			statetest.Run(t, func(t *testing.T, opts state.Options) state.Backend { return open(t, s, opts) })
		})
	}
}

func TestABackendThatThereIsNoMemoryForIsRefusedWithTheWayOut(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if _, err := OpenStore(StoreOptions{Dir: dir, MemoryBytes: MinMemoryBytes - 1}); err == nil || !strings.Contains(err.Error(), "at least 16 MiB") {
		t.Errorf("a store with too little memory: %v", err)
	}
	s, err := OpenStore(StoreOptions{Dir: dir, MemoryBytes: MinMemoryBytes})
	if err != nil {
		t.Fatal(err)
	}
	var all []*Backend
	for range MinMemoryBytes / MinBackendBytes {
		all = append(all, open(t, s, state.Options{}))
	}
	if _, err := s.Open(state.Options{}); err == nil || !strings.Contains(err.Error(), "--state-memory 17 or more") {
		t.Errorf("a backend more than there is memory for: %v", err)
	}
	if err := all[0].Close(); err != nil {
		t.Error(err)
	}
	all[0] = open(t, s, state.Options{}) // one has gone, so there is room
	for _, b := range all {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("closed backends left %v, %v", left, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

package pebble

import (
	"path/filepath"
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
	s.tiers, s.least = tierBytes, tierBytes
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

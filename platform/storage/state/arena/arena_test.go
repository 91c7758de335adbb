package arena

import (
	"testing"

	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/platform/storage/state/statetest"
)

// The race detector does not see mapped memory, so the suite also runs on the
// Go heap.
func TestArena(t *testing.T) {
	for name, mapped := range map[string]bool{"mapped": true, "on the heap": false} {
		t.Run(name, func(t *testing.T) {
			statetest.Run(t, func(t *testing.T, opts state.Options) state.Backend {
				b, err := open(opts, newSource(mapped))
				if err != nil {
					t.Fatal(err)
				}
				return b
			})
		})
	}
}

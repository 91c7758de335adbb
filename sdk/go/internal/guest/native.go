//go:build !wasip1

package guest

import "sync"

var (
	// turn lets one call at a time into the module, as in a WebAssembly instance.
	turn sync.Mutex
	host Host
)

// Enter runs f as a call from h. Calls of other harnesses wait.
func Enter(h Host, f func()) {
	turn.Lock()
	defer turn.Unlock()
	host = h
	defer func() { host = nil }()
	f()
}

// Log writes a line to the host's log.
func Log(level uint32, line string) { host.Log(level, line) }

// SendMetric hands a metric to the host.
func SendMetric(kind uint32, name string, value float64) { host.Metric(kind, name, value) }

// StateGet reads a map entry into buf if it fits and returns its length; -1 if it is absent.
func StateGet(state, slot uint32, key, buf []byte) int { return host.StateGet(state, slot, key, buf) }

// StatePut writes a map entry.
func StatePut(state, slot uint32, key, value []byte) { host.StatePut(state, slot, key, value) }

// StateDelete deletes a map entry.
func StateDelete(state, slot uint32, key []byte) { host.StateDelete(state, slot, key) }

// StateAppend adds to a list.
func StateAppend(state, slot uint32, value []byte) { host.StateAppend(state, slot, value) }

// StateClear empties a map or list.
func StateClear(state, slot uint32) { host.StateClear(state, slot) }

// StateScan reads a page of entries after a key, nil for the first.
func StateScan(state, slot uint32, after, buf []byte) (entries, size int) {
	return host.StateScan(state, slot, after, buf)
}

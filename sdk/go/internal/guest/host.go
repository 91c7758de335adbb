package guest

// Host is what the imports do outside of a module.
type Host interface {
	Log(level uint32, line string)
	Metric(kind uint32, name string, value float64)
	StateGet(state, slot uint32, key, buf []byte) int
	StatePut(state, slot uint32, key, value []byte)
	StateDelete(state, slot uint32, key []byte)
	StateAppend(state, slot uint32, value []byte)
	StateClear(state, slot uint32)
	StateScan(state, slot uint32, after, buf []byte) (entries, size int)
}

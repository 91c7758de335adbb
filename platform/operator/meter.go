package operator

import "sync/atomic"

// Meter counts what an operator does. The task's goroutine writes, anyone
// reads; the metrics shell gives the numbers their public names.
type Meter struct {
	RecordsIn, RecordsOut   atomic.Uint64
	BytesIn, BytesOut       atomic.Uint64
	LateRecords             atomic.Uint64
	DeadLetters             atomic.Uint64
	LagRecords              atomic.Uint64
	WatermarkMicros         atomic.Int64
	StateKeys, StateBytes   atomic.Int64
	StateLeft               atomic.Int64 // bytes of files that are still to be loaded
	StateDisk               atomic.Int64
	StateHits, StateMisses  atomic.Int64 // keys that were in memory, and that were not
	Timers                  atomic.Int64
	GuestCalls, GuestNanos  atomic.Uint64
	GuestBytes              atomic.Int64
	GuestTraps              atomic.Uint64
	MessagesWaiting         atomic.Int64 // in mailboxes of functions elsewhere
	Quarantined             atomic.Int64 // addresses whose calls fail
	CommittedTransactions   atomic.Uint64
	PendingTransactionBytes atomic.Int64
}

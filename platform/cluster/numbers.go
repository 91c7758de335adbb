package cluster

import "time"

// JobNumbers are the meters of an attempt's tasks on one worker.
type JobNumbers struct {
	UID     string
	Attempt uint64
	Tasks   []TaskNumbers
}

// TaskNumbers are those of one task.
type TaskNumbers struct {
	Stage, Index int
	Busy, Waited time.Duration // since the task began
	Operators    []OperatorNumbers
}

// OperatorNumbers are those of one operator of a task. Counters begin with the attempt.
type OperatorNumbers struct {
	ID, Kind               string
	RecordsIn, RecordsOut  uint64
	BytesIn, BytesOut      uint64
	Late, DeadLetters      uint64
	Lag                    uint64 // records
	WatermarkMicros        int64
	StateKeys, StateBytes  int64
	Timers                 int64
	StateLeft              int64 // bytes of files that are still to be loaded
	GuestCalls, GuestTraps uint64
	GuestNanos             uint64
	GuestMemory            int64
}

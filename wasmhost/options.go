package wasmhost

import (
	"fmt"
	"time"
)

const (
	pageBytes = 65536

	// DefaultMemoryPages is what an instance may use if nobody says otherwise: 64 MiB.
	DefaultMemoryPages = 1024
	// MaxMemoryPages is the most that can be granted to an instance: 1 GiB.
	MaxMemoryPages = 16384
	// DefaultTimeout ends a call without a deadline.
	DefaultTimeout = time.Second
	// DefaultOpenTimeout ends the start of an instance without a deadline.
	// Interpreters and large runtimes set themselves up in this time.
	DefaultOpenTimeout = 10 * time.Second
	// DefaultMaxOutputBytes is the most that a call may hand back, if nobody says otherwise.
	DefaultMaxOutputBytes = 8 << 20
	// MaxModuleBytes is the largest module that is compiled.
	MaxModuleBytes = 64 << 20
	// MaxLogLineBytes is where a line of a guest's log is cut.
	MaxLogLineBytes = 4096
	// MaxLogEntryBytes is the most of a runtime's last words that stays together in
	// one entry; what is longer goes on line by line.
	MaxLogEntryBytes = 16 << 10
	// MaxLogLinesPerCall is the number of lines of one call that reach the log;
	// more are counted and dropped.
	MaxLogLinesPerCall = 1000
	// reportLogLines is how many of the first, and of the last, lines of a call a
	// trap's report shows.
	reportLogLines = 16
)

// Options are the settings of a Host.
type Options struct {
	// CacheDir keeps compiled code between processes; empty: in memory only.
	CacheDir string
	// MemoryPages is the memory cap, in pages of 64 KiB, of instances that ask
	// for none of their own; 0: DefaultMemoryPages.
	MemoryPages uint32
	// Unmetered compiles modules as they were uploaded, though still checked: what
	// does not return is never stopped, and collections wait for it. It is there to
	// measure what the meter costs.
	Unmetered bool
	// ColdStarts makes every instance anew, without warm images. It is there to
	// measure, and to compare results.
	ColdStarts bool
}

// Validate checks the options.
func (o Options) Validate() error {
	if o.MemoryPages > MaxMemoryPages {
		return fmt.Errorf("guest memory of %d pages: the limit is %d (1 GiB); lower it", o.MemoryPages, MaxMemoryPages)
	}
	return nil
}

// InstanceOptions are the settings of one instance.
type InstanceOptions struct {
	// MemoryPages caps the memory; 0: the host's cap.
	MemoryPages uint32
	// Imports serves what the guest asks of its host; nil: logs are dropped,
	// metrics too, state is refused.
	Imports Imports
	// Deadline ends the start of the instance; zero: DefaultOpenTimeout from now.
	Deadline time.Time
}

// CallOptions are the settings of one call.
type CallOptions struct {
	// Deadline ends the call; zero: DefaultTimeout from now.
	Deadline time.Time
	// ClockMicros is the time that the guest sees, in microseconds since 1970.
	ClockMicros int64
	// Seed feeds the guest's randomness.
	Seed uint64
	// MaxOutputBytes caps the result; 0: DefaultMaxOutputBytes.
	MaxOutputBytes uint32
}

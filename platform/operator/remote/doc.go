// Package remote is the operator that runs functions which live behind an
// endpoint over HTTP and speak StateFun's protocol. Messages wait in keyed state
// until the reply that they are part of has been applied; one request is under
// way for an address, and any number of addresses go on beside it. An address
// whose calls fail is set aside, and keeps nobody up. It must not know how
// messages travel, nor how a module's file is written.
package remote

import (
	"time"

	"github.com/weirstream/weir/platform/statefun/endpoint"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// Kind is the operator's name in job graphs.
const Kind = "remote"

// Config is the operator's part of a job graph. The input is of functions.Message
// with the key id; output 0 is of functions.Sent, output 1 of functions.Egress,
// and output 2 takes dead letters, if there are any.
type Config struct {
	Endpoint endpoint.Config `json:"endpoint"`
	// MaxBatch is how many messages go with one request; 0: DefaultBatch.
	MaxBatch int `json:"max_batch,omitempty"`
	// MaxInFlight is how many requests a task has under way; 0: DefaultInFlight.
	MaxInFlight int `json:"max_in_flight,omitempty"`
	// DeadLetters: what is dropped from quarantine, or finds no room there, goes to output 2.
	DeadLetters bool `json:"dead_letters,omitempty"`
}

// Limits of remote functions.
const (
	DefaultBatch    = 1000
	DefaultInFlight = 256
	MaxInFlight     = 4096
	// MaxRequestBytes is where a batch is cut, however few messages it has.
	MaxRequestBytes = 4 << 20
	// MaxMailBytes is what may wait in a task before it takes nothing more from outside.
	MaxMailBytes = 64 << 20
	// MaxQuarantinedBytes is what may wait in a task for addresses in quarantine;
	// more becomes dead letters.
	MaxQuarantinedBytes = 16 << 20
	// FirstProbe is when an address in quarantine is tried again by itself; the
	// pause doubles up to LastProbe.
	FirstProbe = 10 * time.Second
	LastProbe  = 5 * time.Minute
	// MaxStates is how many states a function may declare.
	MaxStates = 256
)

// The states of an address.
const (
	stateMail       state.ID = iota // number (8 bytes, big-endian) -> message
	stateStatus                     // see status
	stateValues                     // a state's name -> its value
	stateQuarantine                 // why and since when; absent: it is not there
)

// Names of states that others read.
const (
	MailState       = "mail"
	ValuesState     = "values"
	QuarantineState = "quarantine"
)

// States describes them for the job graph.
func States() []jobgraph.State {
	return []jobgraph.State{
		{Name: MailState, Kind: "map", Form: "hosted", Codec: "bytes", Version: 1},
		{Name: "status", Kind: "value", Form: "framed", Codec: "bytes", Version: 1},
		{Name: ValuesState, Kind: "map", Form: "hosted", Codec: "bytes", Version: 1},
		{Name: QuarantineState, Kind: "value", Form: "framed", Codec: "json", Version: 1},
	}
}

// The timers of an address.
const (
	timerMail   = 0 // event time, always past: it has mail
	timerExpiry = 1 // processing time: a state ends
	timerProbe  = 2 // processing time: try again
)

// Package fetch is the operator that calls servers over HTTP on behalf of
// functions: a request waits in the sender's state until its answer is there,
// and the answer goes to the sender as a message. It must not know what a
// function is, nor how messages travel.
package fetch

import (
	"time"

	"github.com/weirstream/weir/raftmeta/jobgraph"

	"github.com/weirstream/weir/platform/storage/state"
)

// Kind is the operator's name in job graphs.
const Kind = "fetch"

// Config is the operator's part of a job graph. Every input is of
// functions.Request, with the key caller_id; output 0 is of functions.Message.
type Config struct {
	// Allow lists the servers that may be called: "host" (https on its own port
	// only), "host:port", or "http://host:port" for one without TLS. A name
	// *.example.com is for all names below. Nothing is allowed without it.
	Allow []string `json:"allow,omitempty"`
	// MaxInFlight is how many requests a task has under way; 0: DefaultInFlight.
	MaxInFlight int `json:"max_in_flight,omitempty"`
}

// Limits of requests.
const (
	DefaultInFlight = 64
	MaxInFlight     = 1024
	DefaultTimeout  = 10 * time.Second // of one attempt
	MaxTimeout      = time.Minute
	MaxAttempts     = 10
	FirstBackoff    = 100 * time.Millisecond // doubles with each attempt
	MaxBackoff      = 10 * time.Second
	MaxHeaders      = 64
	MaxAnswerBytes  = 512 << 10 // of a body; it is a third more as JSON
	// MaxWaitingBytes is what may wait in a task before it takes nothing more from outside.
	MaxWaitingBytes = 64 << 20
)

// The states of an address that has asked.
const (
	stateRequests state.ID = iota // number (8 bytes, big-endian) -> request
	stateNext                     // the next number, and so how many it has made (8 bytes)
)

// States describes them for the job graph.
func States() []jobgraph.State {
	return []jobgraph.State{
		{Name: "requests", Kind: "map", Form: "hosted", Codec: "bytes", Version: 1},
		{Name: "next", Kind: "value", Form: "framed", Codec: "bytes", Version: 1},
	}
}

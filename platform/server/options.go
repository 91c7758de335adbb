// Package server wires the parts of Weir into a process: storage, log, catalog,
// controller, worker and API. It is the only place that knows all of them.
package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"time"

	"github.com/weirstream/weir/platform/auth"
	"github.com/weirstream/weir/raftmeta"
)

// Durability says what a power cut may take.
type Durability string

// The durabilities of the embedded log and the blob folder. A killed process
// loses nothing under either.
const (
	Interval Durability = "interval" // at most the last 100 ms
	Strict   Durability = "strict"   // nothing
)

// DefaultSlots is how many tasks of a stage a worker takes if nobody says.
const DefaultSlots = 64

// Options are the settings of a server.
type Options struct {
	DataDir        string
	Listen         string // host:port of the one HTTP port
	Auth           auth.Mode
	PlainHTTP      bool // an open port without TLS is wanted
	Durability     Durability
	NATSURL        string // an existing NATS; empty: the embedded one
	NATSListen     string // where the embedded NATS takes plain clients; empty: nowhere
	NodeID         string
	RaftListen     string
	RaftPeers      []raftmeta.Peer
	Slots          int
	Version        string
	Log            *slog.Logger
	Clock          func() time.Time // nil: time.Now
	ResetInstances float64          // how likely an instance is replaced before a call, in tests
}

func (o Options) normalize() (Options, error) {
	if o.DataDir == "" {
		return o, errors.New("a server needs a data directory: name one with --data-dir")
	}
	dir, err := filepath.Abs(o.DataDir)
	if err != nil {
		return o, err
	}
	o.DataDir = dir
	if o.Listen == "" {
		o.Listen = "127.0.0.1:7070"
	}
	if _, _, err := net.SplitHostPort(o.Listen); err != nil {
		return o, fmt.Errorf("--listen %s: %w; write it like 127.0.0.1:7070", o.Listen, err)
	}
	if o.Durability == "" {
		o.Durability = Interval
	}
	if o.Durability != Interval && o.Durability != Strict {
		return o, fmt.Errorf("--durability %s: choose %s or %s", o.Durability, Interval, Strict)
	}
	if o.NodeID == "" {
		o.NodeID = "node-1"
	}
	if o.Slots == 0 {
		o.Slots = DefaultSlots
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	return o, nil
}

func (o *Options) protection() auth.Protection {
	return auth.Protection{Listen: o.Listen, Mode: o.Auth, PlainHTTP: o.PlainHTTP}
}

// Package server wires the parts of Weir into a process: storage, log, catalog,
// controller, worker and API. It is the only place that knows all of them.
package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"time"

	"github.com/weirstream/weir/platform/auth"
	"github.com/weirstream/weir/platform/auth/tlsfiles"
	"github.com/weirstream/weir/platform/storage/state/pebble"
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

// Role is what a process does in its cluster.
type Role string

// The roles. A process without a word has all three.
const (
	// RoleController keeps the catalog, decides, and answers the API by itself.
	RoleController Role = "controller"
	// RoleGateway answers the API by passing calls on to the controller that leads.
	RoleGateway Role = "gateway"
	// RoleWorker runs tasks.
	RoleWorker Role = "worker"
)

// Roles lists them all.
var Roles = []Role{RoleController, RoleGateway, RoleWorker}

// DefaultSlots is how many tasks of a stage a worker takes if nobody says.
const DefaultSlots = 64

// DefaultEagerBytes is about a second's work of loading, which doing it by pieces
// only spreads and makes dearer.
const DefaultEagerBytes = 64 << 20

// Options are the settings of a server.
type Options struct {
	DataDir   string
	Listen    string // host:port of the one HTTP port
	Auth      auth.Mode
	PlainHTTP bool // an open port without TLS is wanted
	TLS       tlsfiles.Files
	// SecretsKeyFile has the key of secrets; empty: one of its own in DataDir.
	SecretsKeyFile string
	// Trust is a PEM file of the authorities that other processes of the cluster
	// have their certificates from; empty: TLS.CA, or what the system trusts.
	Trust      string
	Token      string // that a process shows to the controllers it joins
	Durability Durability
	BlobURL    string // where objects are, as bloburl.Open takes it; empty: the folder blobs in DataDir
	NATSURL    string // an existing NATS; empty: the embedded one
	NATSListen string // where the embedded NATS takes plain clients; empty: nowhere
	NodeID     string
	RaftListen string
	RaftPeers  []raftmeta.Peer
	AwaitJoin  bool // begin as a controller that the leader has yet to add
	Slots      int
	Roles      []Role // none: all
	// EagerBytes is up to which size a task's state of an operator is loaded before
	// the task reads, for what is larger is loaded while it is used. 0: DefaultEagerBytes, below 0: none.
	EagerBytes int64
	// StateBytes is the memory of all keyed state on disk in this process. 0: pebble.DefaultMemoryBytes.
	StateBytes int64
	// Join are URLs of controllers, for a process that is none.
	Join []string
	// Advertise is host:port where other processes reach this one's Listen; empty: Listen itself.
	Advertise string
	// WorkerID names the worker across restarts; empty: made from NodeID.
	WorkerID       string
	Version        string
	Log            *slog.Logger
	Clock          func() time.Time // nil: time.Now
	ResetInstances float64          // how likely an instance is replaced before a call, in tests
	Unmetered      bool             // guests run without the meter, in benchmarks
}

func (o *Options) has(r Role) bool { return slices.Contains(o.Roles, r) }

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
	if len(o.Roles) == 0 {
		o.Roles = Roles
	}
	for _, r := range o.Roles {
		if !slices.Contains(Roles, r) {
			return o, fmt.Errorf("--role %s: choose among %v", r, Roles)
		}
	}
	switch {
	case o.has(RoleController) && len(o.Join) > 0:
		return o, errors.New("--join is for a process that is no controller; a controller finds the others by --peers")
	case !o.has(RoleController) && len(o.Join) == 0:
		return o, fmt.Errorf("a process of role %v needs a controller: name one with --join http://HOST:PORT", o.Roles)
	}
	if o.EagerBytes == 0 {
		o.EagerBytes = DefaultEagerBytes
	}
	if o.StateBytes != 0 && o.StateBytes < pebble.MinMemoryBytes {
		return o, fmt.Errorf("--state-memory %d: at least %d MiB are needed", o.StateBytes>>20, pebble.MinMemoryBytes>>20)
	}
	if o.WorkerID == "" {
		o.WorkerID = "worker-" + o.NodeID
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
	return auth.Protection{Listen: o.Listen, Mode: o.Auth, TLS: o.TLS.Cert != "", PlainHTTP: o.PlainHTTP}
}

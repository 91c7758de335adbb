package raftmeta

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/hashicorp/raft"
)

// Timeouts and limits. Alone, a voter waits for nobody, so its election takes
// milliseconds; among several, a heartbeat must survive a stall of a busy machine.
const (
	aloneTimeout   = 20 * time.Millisecond
	clusterTimeout = 250 * time.Millisecond

	DefaultGroupWindow   = 5 * time.Millisecond
	DefaultImageBytes    = 16 << 20
	DefaultImageEntries  = 8192
	DefaultTrailingLogs  = 2048
	DefaultApplyTimeout  = 10 * time.Second
	maxGroup             = 256
	keptImages           = 2
	imageCheckInterval   = 5 * time.Second
	transportConnections = 3
	transportTimeout     = 5 * time.Second
)

// Peer is a voter of a new cluster.
type Peer struct {
	ID      string
	Address string
}

// Start says how a node with an empty directory begins.
type Start uint8

// The ways to begin.
const (
	StartNew  Start = iota // form the cluster of Peers, or of this node alone
	StartJoin              // wait until the leader adds this node
)

// Options configure a node. NodeID and DataDir are needed, the rest has defaults.
type Options struct {
	NodeID  string
	DataDir string
	// Bind is the Raft address to listen on. Empty means that the node stays alone: no port is opened.
	Bind string
	// Advertise is the address that others use; empty means Bind.
	Advertise string
	// Peers are the voters of a new cluster, this node among them, the same on each. Ignored once there is data.
	Peers []Peer
	Start Start
	// TLS, when set, is what connections to and from other voters use.
	TLS *TLS
	// Transport replaces TCP, for tests; the node closes it.
	Transport raft.Transport
	// HeartbeatTimeout is how long a follower waits for its leader. Zero: 20 ms alone, 250 ms among several.
	HeartbeatTimeout time.Duration
	// GroupWindow is how long a proposal waits for others while an entry is being committed; alone it never waits.
	GroupWindow time.Duration
	// ImageBytes and ImageEntries are the growth of the log after which an image replaces it.
	ImageBytes   int64
	ImageEntries uint64
	TrailingLogs uint64
	ApplyTimeout time.Duration
	Logger       *slog.Logger
}

func (o *Options) fill() error {
	if o.NodeID == "" || o.DataDir == "" {
		return fmt.Errorf("open node: %w: NodeID and DataDir are needed", ErrOptions)
	}
	if o.Advertise == "" {
		o.Advertise = o.Bind
	}
	if len(o.Peers) > 0 {
		self := false
		for _, p := range o.Peers {
			self = self || p.ID == o.NodeID
			if p.ID == "" || p.Address == "" {
				return fmt.Errorf("open node %s: %w: a peer needs an id and an address", o.NodeID, ErrOptions)
			}
		}
		if !self && o.Start == StartNew {
			return fmt.Errorf("open node %s: %w: it is not among its peers", o.NodeID, ErrOptions)
		}
		if len(o.Peers)%2 == 0 {
			return fmt.Errorf("open node %s: %w: %d voters tolerate no more than %d; use one, three or five", o.NodeID, ErrOptions, len(o.Peers), len(o.Peers)-1)
		}
	}
	if (len(o.Peers) > 1 || o.Start == StartJoin) && o.Bind == "" && o.Transport == nil {
		return fmt.Errorf("open node %s: %w: several voters need a Raft address (Bind)", o.NodeID, ErrOptions)
	}
	if o.HeartbeatTimeout == 0 {
		o.HeartbeatTimeout = clusterTimeout
		if o.Bind == "" && o.Transport == nil {
			o.HeartbeatTimeout = aloneTimeout
		}
	}
	if o.GroupWindow < 0 || o.ImageBytes < 0 || o.ApplyTimeout < 0 {
		return fmt.Errorf("open node %s: %w: a negative limit", o.NodeID, ErrOptions)
	}
	orDefault(&o.GroupWindow, DefaultGroupWindow)
	orDefault(&o.ImageBytes, DefaultImageBytes)
	orDefault(&o.ImageEntries, DefaultImageEntries)
	orDefault(&o.TrailingLogs, DefaultTrailingLogs)
	orDefault(&o.ApplyTimeout, DefaultApplyTimeout)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

func orDefault[T comparable](v *T, fallback T) {
	var zero T
	if *v == zero {
		*v = fallback
	}
}

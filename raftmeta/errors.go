package raftmeta

import (
	"errors"
	"fmt"
)

// Sentinels of the shell. A refusal by the catalog itself wraps one of catalog's.
var (
	// ErrNotLeader refuses a proposal here; *NotLeaderError says where to go.
	ErrNotLeader = errors.New("not the leader")
	// ErrUnknownOutcome means that an entry may or may not be in the log: read the view before proposing again.
	ErrUnknownOutcome = errors.New("outcome unknown")
	ErrClosed         = errors.New("node is closed")
	// ErrDamaged means that stored bytes are not what was written, or cannot be applied.
	ErrDamaged = errors.New("damaged")
	ErrOptions = errors.New("bad options")
)

// NotLeaderError names the leader, as far as it is known.
type NotLeaderError struct {
	Leader  string // node id, or nothing
	Address string // its Raft address
}

func (e *NotLeaderError) Error() string {
	if e.Leader == "" {
		return "propose: not the leader, and none is known; try again"
	}
	return fmt.Sprintf("propose: not the leader; that is node %s at %s", e.Leader, e.Address)
}

func (e *NotLeaderError) Unwrap() error { return ErrNotLeader }

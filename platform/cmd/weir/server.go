package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/weirstream/weir/platform/cli"
	"github.com/weirstream/weir/platform/failpoint"
	"github.com/weirstream/weir/platform/server"
	"github.com/weirstream/weir/raftmeta"
)

// runServer runs a server until the context ends.
func runServer(ctx context.Context, o cli.ServerOptions) error {
	if err := failpoint.FromEnv(); err != nil {
		return err
	}
	log, err := serverLog(o.Log, o.LogLevel, o.LogFormat)
	if err != nil {
		return err
	}
	peers, err := raftPeers(o.RaftPeers)
	if err != nil {
		return err
	}
	s, err := server.Start(ctx, server.Options{
		DataDir: o.DataDir, Listen: o.Listen, Auth: o.Auth, PlainHTTP: o.PlainHTTP, TLS: o.TLS, SecretsKeyFile: o.SecretsKey, Durability: durabilityOf(o.Durability), BlobURL: o.BlobURL, NATSURL: o.NATSURL, NATSListen: o.NATSListen,
		NodeID: o.NodeID, RaftListen: o.RaftListen, RaftPeers: peers, AwaitJoin: o.AwaitJoin, Slots: o.Slots, Version: version, Log: log,
		EagerBytes: eagerBytes(o.EagerMiB), StateBytes: stateBytes(o.StateMiB),
		Roles: rolesOf(o.Roles), Join: o.Join, Advertise: o.Advertise, Trust: o.Trust, Token: o.Token,
	})
	if err != nil {
		return err
	}
	if o.Ready != nil {
		o.Ready(s.URL())
	}
	select {
	case <-ctx.Done():
	case <-s.Failed():
		return errors.Join(s.Err(), s.Close())
	}
	return s.Close()
}

// eagerBytes is what the server takes of --eager-restore: there, 0 is the default.
func eagerBytes(mib int) int64 {
	if mib <= 0 {
		return -1
	}
	return int64(mib) << 20
}

// stateBytes is what the server takes of --state-memory: there, 0 is the default,
// and a flag of 0 is too little.
func stateBytes(mib int) int64 {
	if mib <= 0 {
		return -1
	}
	return int64(mib) << 20
}

func rolesOf(flags []string) (roles []server.Role) {
	for _, f := range flags {
		roles = append(roles, server.Role(f))
	}
	return roles
}

func durabilityOf(d cli.Durability) server.Durability {
	if d == cli.Strict {
		return server.Strict
	}
	return server.Interval
}

func raftPeers(flags []string) ([]raftmeta.Peer, error) {
	var peers []raftmeta.Peer
	for _, f := range flags {
		id, address, ok := strings.Cut(f, "=")
		if !ok || id == "" || address == "" {
			return nil, fmt.Errorf("peer %q: write it ID=HOST:PORT", f)
		}
		peers = append(peers, raftmeta.Peer{ID: id, Address: address})
	}
	return peers, nil
}

func serverLog(w io.Writer, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if level != "" {
		if err := l.UnmarshalText([]byte(level)); err != nil {
			return nil, fmt.Errorf("--log-level %s: choose debug, info, warn or error", level)
		}
	}
	options := &slog.HandlerOptions{Level: l}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return slog.New(slog.NewTextHandler(w, options)), nil
}

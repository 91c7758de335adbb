package server

import (
	"github.com/weirstream/weir/platform/rpc"
	"github.com/weirstream/weir/platform/server/controller"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// checks are what the doctor looks at.
func (s *Server) checks() []rpc.Check {
	hint := "start the server with --durability strict"
	if s.nats == nil {
		hint = "give the outside NATS sync_interval: always, or its streams three replicas"
	}
	return []rpc.Check{
		rpc.CheckDisk(s.options.DataDir),
		rpc.CheckBlobs(s.blobs, shownURL(s.blobURL())),
		rpc.CheckExposure(s.ports()),
		checkTLS(s.tls, s.options.Clock),
		rpc.CheckClock(s.node, s.options.Clock),
		rpc.CheckRaft(s.node),
		rpc.CheckSecrets(s.node, s.ring),
		rpc.CheckNATS(s.conn, s.natsTrouble),
		rpc.CheckDurability(func() []string { return s.durability(catalog.ExactlyOnce) }, hint),
		rpc.CheckTopics(s.node, s.conn, s.nats != nil),
		rpc.CheckPipelines(s.node, s.pipelines.CheckpointProblem),
		rpc.CheckCheckpoints(s.node, s.blobs, controller.ManifestName, controller.TotalBytes),
	}
}

// ports are those that others may reach, with what protects them.
func (s *Server) ports() []rpc.Port {
	return []rpc.Port{
		{Flag: "--listen", Address: s.options.Listen, Authenticates: s.gated, Encrypts: s.tls != nil},
		{Flag: "--nats-listen", Address: s.options.NATSListen},
		{Flag: "--raft-listen", Address: s.options.RaftListen, Authenticates: s.options.TLS.CA != "", Encrypts: s.options.TLS.CA != ""},
	}
}

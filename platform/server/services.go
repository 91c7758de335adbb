package server

import (
	"context"

	"github.com/weirstream/weir/platform/backup"
	"github.com/weirstream/weir/platform/gateway"
	"github.com/weirstream/weir/platform/pipelines"
	"github.com/weirstream/weir/platform/savepoints"
	"github.com/weirstream/weir/platform/server/agent"
	"github.com/weirstream/weir/platform/server/controller"
	"github.com/weirstream/weir/platform/statereader"
	"github.com/weirstream/weir/platform/topics"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// services makes what the API calls.
func (s *Server) services() error {
	s.topics = topics.New(topics.Options{Node: s.node, Conn: s.conn, NATSURL: s.NATSURL(), Log: s.log(), Clock: s.options.Clock})
	s.pipelines = pipelines.New(pipelines.Options{
		Node: s.node, Blobs: s.blobs, Modules: s.modules, Topics: s.topics, Logs: s.logs, Jobs: s.controller, Tasks: s,
		GraphName: agent.GraphName, ManifestName: controller.ManifestName, TotalBytes: controller.TotalBytes,
		Report: func(uid string) (pipelines.Report, bool) {
			r, ok := s.controller.Report(uid)
			return pipelines.Report{ID: r.ID, Took: r.Took, SizeBytes: r.SizeBytes, TotalBytes: r.TotalBytes}, ok
		},
		Stuck: s.stuckText, Deleted: s.forget, Warnings: s.warnings, Clock: s.options.Clock,
	})
	s.savepoints = savepoints.New(savepoints.Options{
		Node: s.node, Blobs: s.blobs, Make: s.controller.Savepoint, GraphName: agent.GraphName, SpecName: pipelines.SpecName,
		Naming:  s.pipelines.Naming(),
		Version: s.options.Version, Clock: s.options.Clock,
	})
	s.backup = backup.New(backup.Options{
		Node: s.node, Topics: s.topics, Modules: s.modules, Pipelines: s.pipelines, Savepoints: s.savepoints, Secrets: s.ring,
		Make: s.controller.Savepoint, Version: s.options.Version, Clock: s.options.Clock,
	})
	s.state = statereader.New(statereader.Options{
		Node: s.node, Blobs: s.blobs, Modules: s.modules, GraphName: agent.GraphName, ManifestName: controller.ManifestName,
	})
	s.topics.SetUsers(s.pipelines.Users)
	var err error
	s.functions, err = gateway.New(gateway.Options{
		Node: s.node, Topics: s.topics, Pipelines: s.pipelines, State: s.state, Log: s.log(), Clock: s.options.Clock,
	})
	return err
}

// warnings are what a pipeline should know of this server.
func (s *Server) warnings(d catalog.Delivery) []string {
	if trouble := s.natsTrouble(); trouble != "" {
		return append([]string{trouble}, s.durability(d)...)
	}
	return s.durability(d)
}

// natsTrouble says why the embedded server's streams refuse messages; empty if they do not.
func (s *Server) natsTrouble() string {
	if s.nats == nil {
		return ""
	}
	return s.nats.Trouble()
}

// durability says what a power cut may take.
func (s *Server) durability(d catalog.Delivery) []string {
	if d != catalog.ExactlyOnce {
		return nil
	}
	if s.nats == nil {
		return []string{"an existing NATS holds the log: exactly once holds through its power loss only with replicas or sync always; see weir doctor"}
	}
	if s.options.Durability != Strict {
		return []string{"the log is synced every 100 ms: exactly once holds through the death of processes, and through a power cut with --durability strict"}
	}
	return nil
}

// forget removes what is left of a pipeline that was deleted.
func (s *Server) forget(ctx context.Context, uid string) error {
	s.users.forget(uid)
	return s.sweepGone(ctx, s.node.View(), uid)
}

// stuckText is why a pipeline's checkpoint cannot be written; empty if it can.
func (s *Server) stuckText(uid string) string {
	if s.agent != nil {
		if text := s.agent.StuckText(uid); text != "" {
			return text
		}
	}
	return s.controller.StuckText(uid)
}

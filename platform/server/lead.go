package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/weirstream/weir/platform/cluster"
	"github.com/weirstream/weir/platform/logbook"
	"github.com/weirstream/weir/platform/server/controller"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// announceEvery is how often a controller looks whether the catalog knows its addresses.
const announceEvery = 200 * time.Millisecond

// lead brings up what a controller does: deciding, keeping house, the services.
func (s *Server) lead(ctx, running context.Context) error {
	s.controller = controller.New(controller.Options{Node: s.node, Blobs: s.blobs, Log: s.log(), Interval: s.checkpointInterval()})
	s.desk = cluster.NewDesk(cluster.DeskOptions{Node: s.node, Scheduler: s.controller, About: s.aboutCluster, Lines: s.takeLines, Clock: s.options.Clock})
	s.controller.SetWorkers(s.desk)
	if err := s.services(); err != nil {
		return err
	}
	if s.options.has(RoleWorker) {
		s.engage()
	}
	if err := s.node.Ready(ctx); err != nil {
		return fmt.Errorf("wait for a leader: %w", err)
	}
	if s.node.Leads() {
		if err := s.found(ctx); err != nil {
			return err
		}
	}
	s.tasks.Go(func() { s.controller.Run(running) })
	s.tasks.Go(func() { s.keepHouse(running) })
	s.tasks.Go(func() { s.pipelines.Run(running) })
	s.tasks.Go(func() { s.announce(running) })
	return nil
}

// found gives the cluster its id, once, and brings topics and streams together:
// a process that died while it made a topic may have left half of it.
func (s *Server) found(ctx context.Context) error {
	if settings := s.node.View().Settings; settings.ClusterID == "" || settings.ExchangeKey == "" {
		var id [8]byte
		var key [32]byte
		if _, err := rand.Read(id[:]); err != nil {
			return err
		}
		if _, err := rand.Read(key[:]); err != nil {
			return err
		}
		init := &catalog.InitCluster{At: time.Now().UnixMicro(), ClusterID: hex.EncodeToString(id[:]), ExchangeKey: hex.EncodeToString(key[:])}
		if settings.ClusterID != "" {
			init.ClusterID = settings.ClusterID
		}
		if _, err := s.node.Propose(ctx, init); err != nil {
			return err
		}
	}
	if err := s.firstToken(ctx); err != nil {
		return err
	}
	if err := s.mark(); err != nil {
		return fmt.Errorf("mark the folder of objects: %w", err)
	}
	if err := s.topics.Reconcile(ctx); err != nil {
		s.log().Warn("topics were not all reconciled with their streams", "error", err)
	}
	return nil
}

// announce keeps this controller's addresses in the catalog, so that other
// processes find it: by itself while it leads, otherwise through the leader.
func (s *Server) announce(ctx context.Context) {
	me := catalog.PutNode{ID: s.options.NodeID, RaftAddress: s.options.RaftListen, HTTPAddress: s.advertised(), Version: s.options.Version}
	tick := time.NewTicker(announceEvery)
	defer tick.Stop()
	for {
		if known, ok := s.node.View().Node(me.ID); ok && known.HTTPAddress == me.HTTPAddress && known.RaftAddress == me.RaftAddress && known.Version == me.Version {
			return
		}
		me.At = time.Now().UnixMicro()
		var err error
		switch {
		case s.node.Leads():
			put := me
			_, err = s.node.Propose(ctx, &put)
		case s.leaderURL() != "":
			limited, cancel := context.WithTimeout(ctx, startLimit)
			err = s.client.Announce(limited, me)
			cancel()
		}
		if err != nil && ctx.Err() == nil {
			s.log().Debug("the catalog does not know this controller's addresses yet", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// leaderURL is where the leader answers; empty if that is not known.
func (s *Server) leaderURL() string {
	id, _ := s.node.Leader()
	if n, ok := s.node.View().Node(id); ok {
		return n.HTTPAddress
	}
	return ""
}

// aboutCluster is what a process that joins is told.
func (s *Server) aboutCluster() cluster.Joined {
	view := s.node.View()
	out := cluster.Joined{Cluster: view.Settings.ClusterID, NATSURL: s.NATSURL(), Strict: s.nats != nil && s.options.Durability == Strict, BlobURL: s.blobURL(), ExchangeKey: view.Settings.ExchangeKey}
	for n := range view.Nodes() {
		if n.HTTPAddress != "" {
			out.Controllers = append(out.Controllers, n.HTTPAddress)
		}
	}
	return out
}

// mark leaves a word in the folder of objects, by which a worker on the same
// machine knows that it sees the same folder.
func (s *Server) mark() error {
	if s.blobDir() == "" {
		return nil
	}
	return os.WriteFile(filepath.Join(s.blobDir(), markName), []byte(s.node.View().Settings.ClusterID), 0o600)
}

// markName begins with a dot, as no object's name does.
const markName = ".cluster"

// takeLines keeps log lines that workers sent.
func (s *Server) takeLines(lines []cluster.Line) {
	for _, l := range lines {
		s.logs.Add(l.Pipeline, logbook.Line{Time: l.Time, Level: l.Level, Operator: l.Operator, Task: l.Task, Text: l.Text})
	}
}

// Tasks gives the newest meters of an attempt's tasks, wherever they run.
func (s *Server) Tasks(uid string, attempt uint64) []cluster.TaskNumbers {
	if s.agent == nil {
		return s.desk.Numbers(uid, attempt, 0)
	}
	return append(s.agent.Tasks(uid, attempt), s.desk.Numbers(uid, attempt, s.session.Epoch())...)
}

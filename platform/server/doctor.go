package server

import (
	"context"
	"fmt"
	"time"

	"github.com/weirstream/weir/platform/connector/jetstream"
	"github.com/weirstream/weir/platform/embednats"
	"github.com/weirstream/weir/platform/rpc"
	"github.com/weirstream/weir/platform/server/controller"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// Limits that the doctor warns about.
const (
	littleSpace     = 2 << 30
	hardlyAnySpace  = 256 << 20
	maxVerified     = 32 // checkpoints that one call of the doctor reads through
	oldestCheckedAt = 2020
)

// checks are what the doctor looks at.
func (s *Server) checks() []rpc.Check {
	return []rpc.Check{
		{Name: "disk", Do: s.checkDisk},
		{Name: "clock", Do: checkClock},
		{Name: "catalog", Do: s.checkCatalog},
		{Name: "log", Do: s.checkLog},
		{Name: "topics", Do: s.checkTopics},
		{Name: "pipelines", Do: s.checkPipelines},
		{Name: "checkpoints", Do: s.checkCheckpoints},
	}
}

func fine(format string, args ...any) rpc.Finding {
	return rpc.Finding{Severity: rpc.OK, Text: fmt.Sprintf(format, args...)}
}

func (s *Server) checkDisk(context.Context) ([]rpc.Finding, error) {
	free, err := freeBytes(s.options.DataDir)
	if err != nil {
		return nil, err
	}
	text := fmt.Sprintf("%d MiB are free for %s", free>>20, s.options.DataDir)
	switch {
	case free < hardlyAnySpace:
		return []rpc.Finding{{Severity: rpc.Error, Text: text, Hint: "free space now: checkpoints stop when there is none, and exactly-once output with them"}}, nil
	case free < littleSpace:
		return []rpc.Finding{{Severity: rpc.Warning, Text: text, Hint: "free space, or limit topics by age or size: weir topic create --help"}}, nil
	}
	return []rpc.Finding{fine("%s", text)}, nil
}

func checkClock(context.Context) ([]rpc.Finding, error) {
	if now := time.Now(); now.Year() < oldestCheckedAt {
		return []rpc.Finding{{Severity: rpc.Error, Text: "the clock says " + now.Format(time.RFC3339), Hint: "set it: processing-time timers and times to live go by it"}}, nil
	}
	return []rpc.Finding{fine("the clock says %s", time.Now().UTC().Format(time.RFC3339))}, nil
}

func (s *Server) checkCatalog(context.Context) ([]rpc.Finding, error) {
	members, err := s.node.Members()
	if err != nil {
		return nil, err
	}
	id, _ := s.node.Leader()
	if id == "" {
		return []rpc.Finding{{Severity: rpc.Error, Text: "no leader is known", Hint: "start the other controllers; a majority has to run"}}, nil
	}
	return []rpc.Finding{fine("%s leads %d voter(s) at catalog revision %d", id, len(members), s.node.View().Revision)}, nil
}

func (s *Server) checkLog(context.Context) ([]rpc.Finding, error) {
	version := s.conn.ConnectedServerVersion()
	if err := embednats.CheckVersion(version); err != nil {
		return []rpc.Finding{{Severity: rpc.Error, Text: err.Error(), Hint: "upgrade the NATS server"}}, nil
	}
	if s.nats == nil {
		return []rpc.Finding{{Severity: rpc.Warning, Text: "NATS " + version + " is run by others", Hint: "give it sync_interval: always, or streams three replicas, if a power cut must lose nothing"}}, nil
	}
	if s.options.Durability != Strict {
		return []rpc.Finding{{Severity: rpc.OK, Text: fmt.Sprintf("embedded NATS %s, synced every %s; --durability strict loses nothing in a power cut", version, s.nats.SyncInterval())}}, nil
	}
	return []rpc.Finding{fine("embedded NATS %s, synced before every acknowledgement", version)}, nil
}

func (s *Server) checkTopics(ctx context.Context) ([]rpc.Finding, error) {
	var out []rpc.Finding
	n := 0
	for t := range s.node.View().Topics("") {
		n++
		topic, ok := s.topics.Topic(t.Namespace, t.Name)
		if !ok {
			continue
		}
		if err := jetstream.Verify(ctx, s.conn, topic); err != nil {
			out = append(out, rpc.Finding{Severity: rpc.Error, Text: fmt.Sprintf("topic %s: %v", catalog.Key(t.Namespace, t.Name), err), Hint: "pipelines that read it stop with data_lost; delete the topic and make it anew, or restore its stream"})
		}
	}
	if len(out) == 0 {
		out = append(out, fine("%d topics have fit streams", n))
	}
	return out, nil
}

func (s *Server) checkPipelines(context.Context) ([]rpc.Finding, error) {
	var out []rpc.Finding
	n := 0
	for p := range s.node.View().Pipelines("") {
		n++
		name := catalog.Key(p.Namespace, p.Name)
		if text := s.agent.StuckText(p.UID); text != "" {
			out = append(out, rpc.Finding{Severity: rpc.Error, Text: fmt.Sprintf("pipeline %s: a checkpoint cannot be written: %s", name, text), Hint: "the pipeline goes on by itself when the cause is gone"})
		}
		switch {
		case p.Job.State == catalog.JobFailed && p.Job.Error != nil:
			out = append(out, rpc.Finding{Severity: rpc.Error, Text: fmt.Sprintf("pipeline %s failed: %s", name, p.Job.Error.Text), Hint: "mend the cause, then: weir pipeline resume " + p.Name})
		case p.Job.State == catalog.JobRestarting && p.Job.Error != nil:
			out = append(out, rpc.Finding{Severity: rpc.Warning, Text: fmt.Sprintf("pipeline %s restarts, for the %d. time in a row: %s", name, p.Job.Failures, p.Job.Error.Text), Hint: "see: weir pipeline logs " + p.Name})
		}
	}
	if len(out) == 0 {
		out = append(out, fine("%d pipelines, none failed or stuck", n))
	}
	return out, nil
}

// checkCheckpoints reads the last checkpoint of pipelines through.
func (s *Server) checkCheckpoints(ctx context.Context) ([]rpc.Finding, error) {
	var out []rpc.Finding
	n := 0
	for p := range s.node.View().Pipelines("") {
		if p.Job.Last == nil || n == maxVerified {
			continue
		}
		n++
		m, err := snapshot.ReadManifest(ctx, s.blobs, controller.ManifestName(p.UID, *p.Job.Last), snapshot.Digest(p.Job.Last.Manifest))
		if err == nil {
			err = snapshot.Verify(ctx, s.blobs, m)
		}
		if err == nil {
			continue
		}
		// It may have been replaced and swept while it was being read.
		if now, ok := s.node.View().Pipeline(p.UID); !ok || now.Job.Last == nil || now.Job.Last.ID != p.Job.Last.ID {
			continue
		}
		out = append(out, rpc.Finding{
			Severity: rpc.Error, Text: fmt.Sprintf("pipeline %s: checkpoint %d is damaged: %v", catalog.Key(p.Namespace, p.Name), p.Job.Last.ID, err),
			Hint: "weir checkpoint list shows older ones; weir pipeline resume --from-checkpoint ID --allow-duplicates goes back",
		})
	}
	if len(out) == 0 {
		out = append(out, fine("the last checkpoints of %d pipelines are whole", n))
	}
	return out, nil
}

package rpc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	nats_js "github.com/nats-io/nats.go/jetstream"

	"github.com/weirstream/weir/platform/auth"
	"github.com/weirstream/weir/platform/connector/jetstream"
	"github.com/weirstream/weir/platform/embednats"
	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/platform/topics"
	"github.com/weirstream/weir/raftmeta"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// Bounds of the doctor's checks.
const (
	fullPercent      = 90 // of a store, from which on there is a warning
	verifyPipelines  = 100
	verifyBytes      = 1 << 30 // of checkpoints that are read whole
	clockTolerance   = 2 * time.Second
	maxFindingsShown = 20 // of one check
)

// CheckNATS looks at the server's version and how full its store is. trouble is
// what the embedded server says of streams that refuse messages.
func CheckNATS(conn *nats.Conn, trouble func() string) Check {
	return Check{Name: "nats", Do: func(ctx context.Context) ([]Finding, error) {
		if text := trouble(); text != "" {
			return []Finding{{Error, text, "free space in the data directory, or give topics a --max-age or --max-bytes; no restart is needed"}}, nil
		}
		version := conn.ConnectedServerVersion()
		if err := embednats.CheckVersion(version); err != nil {
			return []Finding{{Error, err.Error(), "upgrade the NATS server"}}, nil
		}
		js, err := nats_js.New(conn)
		if err != nil {
			return nil, err
		}
		account, err := js.AccountInfo(ctx)
		if err != nil {
			return []Finding{{Error, "JetStream does not answer: " + err.Error(), "turn JetStream on for Weir's account, and look at the NATS server's log"}}, nil
		}
		text := fmt.Sprintf("version %s, %d streams, %d bytes stored", version, account.Streams, account.Store)
		if limit := account.Limits.MaxStore; limit > 0 {
			text += fmt.Sprintf(" of %d", limit)
			if account.Store > uint64(limit)/100*fullPercent {
				return []Finding{{Warning, text, "give topics a --max-age or --max-bytes, delete topics, or raise the limit"}}, nil
			}
		}
		return []Finding{{OK, text, ""}}, nil
	}}
}

// CheckTopics holds every topic's stream against its entry. Those of an embedded
// server have one replica, there being one server; elsewhere that is worth a word.
func CheckTopics(node *raftmeta.Node, conn *nats.Conn, embedded bool) Check {
	return Check{Name: "topics", Do: func(ctx context.Context) ([]Finding, error) {
		var found []Finding
		count, single := 0, 0
		for t := range node.View().Topics("") {
			count++
			if t.Replicas < 2 {
				single++
			}
			err := jetstream.Verify(ctx, conn, topics.Convert(t))
			if err == nil || len(found) >= maxFindingsShown {
				continue
			}
			f := Finding{Error, fmt.Sprintf("topic %s: %v", catalog.Key(t.Namespace, t.Name), err), "undo the change of its stream, or delete the topic and make it anew"}
			if errors.Is(err, jetstream.ErrNoTopic) {
				f.Hint = "restore the stream from a backup; or restart the server, which makes an empty one, and pipelines that read it will say what is lost"
			}
			found = append(found, f)
		}
		if !embedded && single > 0 {
			found = append(found, Finding{Warning, fmt.Sprintf("%d topics have one replica: with its NATS server's disk they are gone", single), "raise their streams' replicas: nats stream edit STREAM --replicas 3"})
		}
		if len(found) == 0 {
			found = []Finding{{OK, fmt.Sprintf("%d topics, each with a fitting stream", count), ""}}
		}
		return found, nil
	}}
}

// CheckBlobs writes, reads and deletes a small object.
func CheckBlobs(blobs blob.Store, where string) Check {
	return Check{Name: "blobs", Do: func(ctx context.Context) ([]Finding, error) {
		begun := time.Now()
		if err := blob.Probe(ctx, blobs); err != nil {
			return []Finding{{Error, fmt.Sprintf("%s: %v", where, err), "until it works no checkpoint completes, and output of exactly-once sinks stands still"}}, nil
		}
		return []Finding{{OK, fmt.Sprintf("%s takes a write, a read and a delete, in %s", where, time.Since(begun).Round(time.Millisecond)), ""}}, nil
	}}
}

// CheckCheckpoints reads the last checkpoints whole, up to a bound.
func CheckCheckpoints(node *raftmeta.Node, blobs blob.Store, manifestName func(uid string, cp catalog.Checkpoint) string, totalBytes func(*snapshot.Manifest) int64) Check {
	return Check{Name: "checkpoints", Do: func(ctx context.Context) ([]Finding, error) {
		var found []Finding
		count, skipped, read := 0, 0, int64(0)
		for p := range node.View().Pipelines("") {
			if p.Job.Last == nil {
				continue
			}
			if count == verifyPipelines || read > verifyBytes {
				skipped++
				continue
			}
			m, err := snapshot.ReadManifest(ctx, blobs, manifestName(p.UID, *p.Job.Last), snapshot.Digest(p.Job.Last.Manifest))
			if err == nil {
				size := totalBytes(m)
				if read+size > verifyBytes {
					skipped++
					continue
				}
				read += size
				err = snapshot.Verify(ctx, blobs, m)
			}
			count++
			if now, ok := node.View().Pipeline(p.UID); err != nil && (!ok || now.Job.Last == nil || now.Job.Last.ID != p.Job.Last.ID) {
				continue // a newer one took its place meanwhile, and its files may be swept
			}
			if err != nil && len(found) < maxFindingsShown {
				found = append(found, Finding{Error, fmt.Sprintf("checkpoint %d of pipeline %s: %v", p.Job.Last.ID, catalog.Key(p.Namespace, p.Name), err),
					"while the pipeline runs, its next checkpoint may mend it; else resume from an older one: weir checkpoint list " + p.Name})
			}
		}
		if len(found) == 0 {
			text := fmt.Sprintf("the last checkpoints of %d pipelines are whole", count)
			if skipped > 0 {
				text += fmt.Sprintf("; %d more were not read: at most %d pipelines and %d MiB are", skipped, verifyPipelines, int64(verifyBytes)>>20)
			}
			found = []Finding{{OK, text, ""}}
		}
		return found, nil
	}}
}

// CheckPipelines names those whose checkpoints do not complete and those that failed.
func CheckPipelines(node *raftmeta.Node, problem func(*catalog.Pipeline) string) Check {
	return Check{Name: "pipelines", Do: func(context.Context) ([]Finding, error) {
		var found []Finding
		count := 0
		for p := range node.View().Pipelines("") {
			count++
			name := catalog.Key(p.Namespace, p.Name)
			if len(found) >= maxFindingsShown {
				continue
			}
			if p.Job.State == catalog.JobFailed {
				text := fmt.Sprintf("pipeline %s failed", name)
				if p.Job.Error != nil {
					text += ": " + p.Job.Error.Text
				}
				found = append(found, Finding{Error, text, "weir pipeline status " + p.Name + " says what to do"})
			}
			if why := problem(p); why != "" {
				found = append(found, Finding{Error, fmt.Sprintf("pipeline %s: %s", name, why), "its output stands still until checkpoints complete; weir pipeline logs " + p.Name + " has more"})
			}
		}
		if len(found) == 0 {
			found = []Finding{{OK, fmt.Sprintf("%d pipelines", count), ""}}
		}
		return found, nil
	}}
}

// CheckRaft looks at the catalog's log and its members.
func CheckRaft(node *raftmeta.Node) Check {
	return Check{Name: "catalog", Do: func(context.Context) ([]Finding, error) {
		if err := node.Err(); err != nil {
			return []Finding{{Error, "this node's catalog has stopped: " + err.Error(), "restart the server; if it comes again, restore a backup"}}, nil
		}
		leader, _ := node.Leader()
		if leader == "" {
			return []Finding{{Error, "no leader is known: nothing can be changed and no checkpoint committed", "start the other servers, or look whether they reach each other"}}, nil
		}
		members, err := node.Members()
		if err != nil {
			return nil, err
		}
		voters := 0
		for _, m := range members {
			if m.Voter {
				voters++
			}
		}
		text := fmt.Sprintf("leader %s, %d of %d members vote, revision %d", leader, voters, len(members), node.View().Revision)
		if voters == 2 {
			return []Finding{{Warning, text, "with two voters the loss of either stops the cluster: add a third, or keep one"}}, nil
		}
		return []Finding{{OK, text, ""}}, nil
	}}
}

// CheckClock looks whether the clock ran back behind what the catalog has recorded.
func CheckClock(node *raftmeta.Node, clock func() time.Time) Check {
	return Check{Name: "clock", Do: func(context.Context) ([]Finding, error) {
		newest := int64(0)
		for p := range node.View().Pipelines("") {
			newest = max(newest, p.Current.Applied, p.Job.Since)
			if p.Job.Last != nil {
				newest = max(newest, p.Job.Last.Time)
			}
		}
		for t := range node.View().Topics("") {
			newest = max(newest, t.Created)
		}
		now := clock()
		if ahead := time.UnixMicro(newest).Sub(now); ahead > clockTolerance {
			return []Finding{{Error, fmt.Sprintf("the clock stands %s before what the catalog recorded last", ahead.Round(time.Second)),
				"set the clock (NTP); timers and windows by processing time wait until it has caught up"}}, nil
		}
		return []Finding{{OK, now.UTC().Format(time.RFC3339), ""}}, nil
	}}
}

// Port is where a server listens, and what protects it.
type Port struct {
	Flag          string
	Address       string // empty: nowhere
	Authenticates bool
	Encrypts      bool
}

// CheckExposure warns of ports that others than this machine may reach and that are not protected.
func CheckExposure(ports []Port) Check {
	return Check{Name: "network", Do: func(context.Context) ([]Finding, error) {
		var found []Finding
		open := 0
		for _, p := range ports {
			if !auth.Exposed(p.Address) {
				continue
			}
			open++
			switch {
			case !p.Authenticates:
				found = append(found, Finding{Warning, fmt.Sprintf("%s %s is open to the network and has no authentication: anyone who reaches it can do everything", p.Flag, p.Address),
					"use loopback, or a network that only these servers share"})
			case !p.Encrypts:
				found = append(found, Finding{Warning, fmt.Sprintf("%s %s is open to the network without TLS: tokens can be read on the way", p.Flag, p.Address),
					"see that a proxy before it speaks TLS and that nobody gets around it"})
			}
		}
		switch {
		case len(found) > 0:
		case open == 0:
			found = []Finding{{OK, "only this machine reaches the server", ""}}
		default:
			found = []Finding{{OK, "what is open to the network asks for a token and speaks TLS", ""}}
		}
		return found, nil
	}}
}

// CheckDurability says what a power cut may take, in the words that status warnings use too.
func CheckDurability(warnings func() []string, hint string) Check {
	return Check{Name: "durability", Do: func(context.Context) ([]Finding, error) {
		var found []Finding
		for _, w := range warnings() {
			found = append(found, Finding{Warning, w, hint})
		}
		if len(found) == 0 {
			found = []Finding{{OK, "what is acknowledged is on the disk", ""}}
		}
		return found, nil
	}}
}

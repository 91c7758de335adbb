package pipelines

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/logbook"
	"github.com/weirstream/weir/platform/operator/parked"
	"github.com/weirstream/weir/platform/operator/sink"
	"github.com/weirstream/weir/platform/operator/source"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/raftmeta"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// watchEvery is how often a watcher hears of numbers, and at most of changes.
const watchEvery = time.Second

func levelName(l logbook.Line) string {
	switch {
	case l.Level >= slog.LevelError:
		return "error"
	case l.Level >= slog.LevelWarn:
		return "warn"
	case l.Level >= slog.LevelInfo:
		return "info"
	}
	return "debug"
}

// Get tells how a pipeline stands, and its file as it was applied.
func (s *Service) Get(ctx context.Context, r *weirv1.GetPipelineRequest) (*weirv1.GetPipelineResponse, error) {
	p, err := s.find("get", r.GetNamespace(), r.GetName())
	if err != nil {
		return nil, err
	}
	file, err := s.object(ctx, SpecName(p.Current.Spec), p.Current.Spec)
	if err != nil {
		return nil, fmt.Errorf("get pipeline %s: read its file: %w", p.Name, err)
	}
	return &weirv1.GetPipelineResponse{Status: s.status(ctx, p), File: string(file)}, nil
}

// Watch sends the status at once, at changes, and while the job has tasks, each
// second at most, until ctx ends or the pipeline is deleted.
func (s *Service) Watch(ctx context.Context, r *weirv1.WatchPipelineRequest, send func(*weirv1.WatchPipelineResponse) error) error {
	p, err := s.find("watch", r.GetNamespace(), r.GetName())
	if err != nil {
		return err
	}
	uid, name := p.UID, p.Name
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	moves := make(chan struct{}, 1)
	watching := make(chan struct{})
	seen := s.view().Revision // before the first status is read, so that no change falls between
	go func() {
		defer close(watching)
		for u := range s.options.Node.Watch(ctx, seen) {
			if concerns(u, uid) {
				select {
				case moves <- struct{}{}:
				default: // one that waits tells of this too
				}
			}
		}
	}()
	defer func() { cancel(); <-watching }()
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for moved := true; ; {
		p, ok := s.view().Pipeline(uid)
		if !ok {
			return refuse(catalog.ErrNotFound, "watch pipeline %s: it was deleted", name)
		}
		if moved || p.Job.State.HasTasks() {
			if err := send(&weirv1.WatchPipelineResponse{Status: s.status(ctx, p)}); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		select {
		case <-moves:
			moved = true
		default:
			moved = false
		}
	}
}

func concerns(u raftmeta.Update, uid string) bool {
	if u.Resync {
		return true
	}
	for _, c := range u.Changes {
		if c.Kind == catalog.KindPipeline && c.Key == uid {
			return true
		}
	}
	return false
}

// status puts together what catalog, leader and worker know.
func (s *Service) status(ctx context.Context, p *catalog.Pipeline) *weirv1.PipelineStatus {
	out := &weirv1.PipelineStatus{Pipeline: s.message(s.view(), p), Warnings: s.options.Warnings(p.Current.Delivery)}
	if last := p.Job.Last; last != nil {
		out.LastCheckpoint = s.checkpoint(ctx, p, *last)
	}
	out.CheckpointProblem = s.CheckpointProblem(p)
	if status, ok := s.options.Jobs.Status(p.UID); ok && status.Waiting != "" {
		out.Warnings = append(out.Warnings, "it waits to start: "+status.Waiting)
	}
	s.numbers(p, out)
	return out
}

// CheckpointProblem says what keeps checkpoints from completing; empty if nothing does.
func (s *Service) CheckpointProblem(p *catalog.Pipeline) string {
	if stuck := s.options.Stuck(p.UID); stuck != "" {
		return stuck
	}
	status, ok := s.options.Jobs.Status(p.UID)
	if !ok || status.Checkpoint == 0 || status.HeldBy == "" {
		return ""
	}
	took := time.Duration(s.now()-status.Began) * time.Microsecond
	if took < slowCheckpoint {
		return ""
	}
	return fmt.Sprintf("checkpoint %d has taken %s so far; it waits for %s", status.Checkpoint, took.Round(time.Second), status.HeldBy)
}

// slowCheckpoint is when a checkpoint under way is worth a word.
const slowCheckpoint = 5 * time.Second

// numbers adds up the meters of the job's tasks.
func (s *Service) numbers(p *catalog.Pipeline, out *weirv1.PipelineStatus) {
	if !p.Job.State.HasTasks() {
		return
	}
	tasks := s.options.Tasks.Tasks(p.UID, p.Job.Attempt)
	now := take(tasks, s.options.Clock())
	busy, waited := s.live.rates(p.UID, p.Job.Attempt, now)
	byID := map[string]*weirv1.OperatorStatus{}
	watermarks := map[string]int64{}
	for i := range tasks {
		t := &tasks[i]
		for k := range t.Operators {
			m := &t.Operators[k]
			o := byID[m.ID]
			if o == nil {
				o = &weirv1.OperatorStatus{Operator: m.ID, Kind: m.Kind, Stage: uint32(t.Stage)}
				byID[m.ID] = o
				out.Operators = append(out.Operators, o)
			}
			o.Tasks++
			o.RecordsIn += m.RecordsIn
			o.RecordsOut += m.RecordsOut
			o.BytesIn += m.BytesIn
			o.BytesOut += m.BytesOut
			o.LateRecords += m.Late
			o.DeadLetters += m.DeadLetters
			o.LagRecords += m.Lag
			o.StateKeys += uint64(max(m.StateKeys, 0))
			o.StateBytes += uint64(max(m.StateBytes, 0))
			o.StateLeftBytes += uint64(max(m.StateLeft, 0))
			o.Timers += uint64(max(m.Timers, 0))
			// Operators of a stage share their task, and so its time.
			o.BusyRatio += busy[idOf(t)]
			o.BackpressuredRatio += waited[idOf(t)]
			if w := m.WatermarkMicros; hasWatermark(w) {
				if before, ok := watermarks[m.ID]; !ok || w < before {
					watermarks[m.ID] = w
				}
			}
		}
	}
	for _, o := range out.Operators {
		o.BusyRatio /= float64(o.Tasks)
		o.BackpressuredRatio /= float64(o.Tasks)
		if w, ok := watermarks[o.Operator]; ok {
			o.Watermark = timestamppb.New(time.UnixMicro(w))
		}
		if o.Kind == parked.Kind && o.StateKeys > 0 {
			out.Warnings = append(out.Warnings, fmt.Sprintf("messages to %d addresses wait for a type that the pipeline does not have; they are delivered when a revision brings it: weir state dump %s %s shows them", o.StateKeys, p.Name, o.Operator))
		}
		switch {
		case o.Kind == source.Kind:
			out.RecordsIn += o.RecordsOut
			out.LagRecords += o.LagRecords
		case o.Kind == sink.Kind && o.Operator != deadLetterSink:
			out.RecordsOut += o.RecordsIn
		}
	}
}

// deadLetterSink is the operator that the planner adds for dead letters.
const deadLetterSink = "dead_letters"

// checkpoint tells of a committed checkpoint what catalog, leader and manifest know.
func (s *Service) checkpoint(ctx context.Context, p *catalog.Pipeline, cp catalog.Checkpoint) *weirv1.Checkpoint {
	name := s.options.ManifestName(p.UID, cp)
	out := &weirv1.Checkpoint{
		Id: cp.ID, Attempt: cp.Attempt, Revision: cp.Revision, Committed: stamp(cp.Time), Published: cp.ID <= p.Job.Publish, Manifest: name,
	}
	if r, ok := s.options.Report(p.UID); ok && r.ID == cp.ID {
		out.SizeBytes, out.TotalBytes, out.DurationMs = uint64(max(r.SizeBytes, 0)), uint64(max(r.TotalBytes, 0)), uint32(r.Took.Milliseconds())
		return out
	}
	// The leader that took it is gone: the manifest still knows what it names.
	if m, err := snapshot.ReadManifest(ctx, s.options.Blobs, name, snapshot.Digest(cp.Manifest)); err == nil {
		out.TotalBytes = uint64(max(s.options.TotalBytes(m), 0))
	}
	return out
}

// Checkpoints lists those that are kept, newest first.
func (s *Service) Checkpoints(ctx context.Context, r *weirv1.ListCheckpointsRequest) (*weirv1.ListCheckpointsResponse, error) {
	p, err := s.find("list checkpoints of", r.GetNamespace(), r.GetName())
	if err != nil {
		return nil, err
	}
	out := &weirv1.ListCheckpointsResponse{}
	if p.Job.Last == nil {
		return out, nil
	}
	for _, cp := range append([]catalog.Checkpoint{*p.Job.Last}, p.Job.Retained...) {
		out.Checkpoints = append(out.Checkpoints, s.checkpoint(ctx, p, cp))
	}
	return out, nil
}

// trimmed shortens a list of names for a text.
func trimmed(names []string, most int) string {
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

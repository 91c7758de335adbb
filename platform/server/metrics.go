package server

import (
	"strings"

	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/metrics"
	"github.com/weirstream/weir/platform/operator/source"
	"github.com/weirstream/weir/platform/runtime"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// snapshot gathers the numbers of all pipelines, and of the tasks that run in
// this process; those of others are on their own pages.
func (s *Server) snapshot() metrics.Snapshot {
	out := metrics.Snapshot{Images: s.imageNumbers()}
	if s.node == nil {
		return s.workerSnapshot()
	}
	if s.functions != nil {
		n := s.functions.Numbers()
		out.Functions = &metrics.Functions{Sent: n.Sent, Calls: n.Calls, Answers: n.Answers, Timeouts: n.Timeouts, Waiting: n.Waiting}
	}
	for p := range s.node.View().Pipelines("") {
		m := metrics.Pipeline{
			Namespace: p.Namespace, Name: p.Name, State: string(p.Job.State), Restarts: p.Job.Restarts, User: s.users.of(p.UID),
		}
		m.Checkpoint.Stuck = s.stuckText(p.UID) != ""
		if last := p.Job.Last; last != nil {
			m.Checkpoint = s.checkpointNumbers(p.UID, last, m.Checkpoint)
		}
		m.Operators = s.tasksHere(p.UID)
		out.Pipelines = append(out.Pipelines, m)
	}
	return out
}

// workerSnapshot is that of a process which knows only its own tasks.
func (s *Server) workerSnapshot() metrics.Snapshot {
	out := metrics.Snapshot{Images: s.imageNumbers()}
	if s.agent == nil {
		return out
	}
	for _, uid := range s.agent.Worker().Jobs() {
		j := s.agent.Worker().Job(uid)
		if j == nil {
			continue
		}
		namespace, name, _ := strings.Cut(j.Pipeline(), "/")
		out.Pipelines = append(out.Pipelines, metrics.Pipeline{Namespace: namespace, Name: name, User: s.users.of(uid), Operators: s.tasksHere(uid)})
	}
	return out
}

// imageNumbers are those of the warm images in this process.
func (s *Server) imageNumbers() metrics.Images {
	if s.wasm == nil {
		return metrics.Images{}
	}
	n := s.wasm.Images()
	return metrics.Images{Taken: n.Taken, Used: n.Used, Bytes: n.Bytes}
}

// tasksHere are the numbers of a pipeline's tasks in this process.
func (s *Server) tasksHere(uid string) (out []metrics.Operator) {
	if s.agent == nil {
		return nil
	}
	if j := s.agent.Worker().Job(uid); j != nil {
		for _, t := range j.Tasks() {
			out = append(out, operatorNumbers(t)...)
		}
	}
	return out
}

func (s *Server) checkpointNumbers(uid string, last *catalog.Checkpoint, c metrics.Checkpoint) metrics.Checkpoint {
	c.ID, c.CommittedMicros = last.ID, last.Time
	if r, ok := s.controller.Report(uid); ok && r.ID == last.ID {
		c.DurationSeconds = r.Took.Seconds()
		c.SizeBytes, c.TotalBytes = r.SizeBytes, r.TotalBytes
		c.AlignSeconds, c.StopForSeconds = r.Align.Seconds(), r.Freeze.Seconds()
	}
	return c
}

func operatorNumbers(t *runtime.Task) []metrics.Operator {
	var out []metrics.Operator
	for i, m := range t.Meters() {
		spec := &t.Stage().Operators[i]
		w := m.WatermarkMicros.Load()
		o := metrics.Operator{
			ID: spec.ID, Task: t.ID().Index, First: i == 0, Source: spec.Kind == source.Kind,
			RecordsIn: m.RecordsIn.Load(), RecordsOut: m.RecordsOut.Load(), BytesIn: m.BytesIn.Load(), BytesOut: m.BytesOut.Load(),
			Late: m.LateRecords.Load(), DeadLetters: m.DeadLetters.Load(), Lag: m.LagRecords.Load(),
			WatermarkMicros: w, HasWatermark: w != 0 && w != element.MinTime && w != element.MaxTime,
			StateKeys: m.StateKeys.Load(), StateBytes: m.StateBytes.Load(), Timers: m.Timers.Load(), StateLeft: m.StateLeft.Load(),
			StateDisk: m.StateDisk.Load(), StateHits: m.StateHits.Load(), StateMisses: m.StateMisses.Load(),
			GuestCalls: m.GuestCalls.Load(), GuestSeconds: float64(m.GuestNanos.Load()) / 1e9, GuestMemory: m.GuestBytes.Load(), GuestTraps: m.GuestTraps.Load(),
		}
		if o.First {
			o.Busy, o.Waited = t.Busy().Seconds(), t.Waited().Seconds()
		}
		out = append(out, o)
	}
	return out
}

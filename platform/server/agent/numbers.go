package agent

import (
	"github.com/weirstream/weir/platform/cluster"
	"github.com/weirstream/weir/platform/runtime"
)

// Numbers are the meters of everything that runs here.
func (a *Agent) Numbers() []cluster.JobNumbers {
	out := []cluster.JobNumbers{}
	for _, uid := range a.worker.Jobs() {
		j := a.worker.Job(uid)
		if j == nil {
			continue
		}
		out = append(out, cluster.JobNumbers{UID: uid, Attempt: j.Attempt(), Tasks: a.Tasks(uid, j.Attempt())})
	}
	return out
}

// Tasks are the meters of an attempt's tasks here.
func (a *Agent) Tasks(uid string, attempt uint64) []cluster.TaskNumbers {
	j := a.worker.Job(uid)
	if j == nil || j.Attempt() != attempt {
		return nil
	}
	var out []cluster.TaskNumbers
	for _, t := range j.Tasks() {
		out = append(out, numbersOf(t))
	}
	return out
}

func numbersOf(t *runtime.Task) cluster.TaskNumbers {
	n := cluster.TaskNumbers{Stage: int(t.ID().Stage), Index: t.ID().Index, Busy: t.Busy(), Waited: t.Waited()}
	for i, m := range t.Meters() {
		spec := &t.Stage().Operators[i]
		n.Operators = append(n.Operators, cluster.OperatorNumbers{
			ID: spec.ID, Kind: spec.Kind,
			RecordsIn: m.RecordsIn.Load(), RecordsOut: m.RecordsOut.Load(), BytesIn: m.BytesIn.Load(), BytesOut: m.BytesOut.Load(),
			Late: m.LateRecords.Load(), DeadLetters: m.DeadLetters.Load(), Lag: m.LagRecords.Load(), WatermarkMicros: m.WatermarkMicros.Load(),
			StateKeys: m.StateKeys.Load(), StateBytes: m.StateBytes.Load(), Timers: m.Timers.Load(), StateLeft: m.StateLeft.Load(),
			GuestCalls: m.GuestCalls.Load(), GuestTraps: m.GuestTraps.Load(), GuestNanos: m.GuestNanos.Load(), GuestMemory: m.GuestBytes.Load(),
		})
	}
	return n
}

package cluster

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/raftmeta/catalog"
	"github.com/weirstream/weir/scheduler"
)

// WordMessage is a word as it travels.
func WordMessage(w Word) (*weirv1.FollowResponse, error) {
	out := &weirv1.FollowResponse{}
	switch {
	case w.Update != nil:
		u := &weirv1.Assignments{Resync: w.Update.Resync, Gone: w.Update.Gone}
		for _, a := range w.Update.Assigned {
			b, err := json.Marshal(a.Pipeline)
			if err != nil {
				return nil, fmt.Errorf("encode pipeline %s: %w", a.Pipeline.UID, err)
			}
			u.Assigned = append(u.Assigned, &weirv1.Assigned{Pipeline: b, Workers: a.Workers,
				GuestShare: uint32(a.Guests.Share), GuestMemory: uint64(a.Guests.MemoryBytes)})
		}
		out.Word = &weirv1.FollowResponse_Assignments{Assignments: u}
	case w.Trigger != nil:
		t := w.Trigger
		out.Word = &weirv1.FollowResponse_Trigger{Trigger: &weirv1.TriggerWord{Uid: t.UID, Attempt: t.Attempt, Id: t.ID, Kind: string(t.Kind)}}
	case w.Abort != nil:
		a := w.Abort
		out.Word = &weirv1.FollowResponse_Abort{Abort: &weirv1.AbortWord{Uid: a.UID, Attempt: a.Attempt, Id: a.ID, Reason: a.Reason}}
	case w.Again:
		out.Word = &weirv1.FollowResponse_Again{Again: true}
	}
	return out, nil
}

// wordOf reads a word. One that is unknown here is an empty one: a newer leader
// says nothing that an older worker must understand.
func wordOf(m *weirv1.FollowResponse) (Word, error) {
	switch w := m.GetWord().(type) {
	case *weirv1.FollowResponse_Assignments:
		u := &Update{Resync: w.Assignments.GetResync(), Gone: w.Assignments.GetGone()}
		for _, a := range w.Assignments.GetAssigned() {
			p := &catalog.Pipeline{}
			if err := json.Unmarshal(a.GetPipeline(), p); err != nil {
				return Word{}, fmt.Errorf("read an assigned pipeline: %w", err)
			}
			if a.GetGuestShare() > catalog.MaxGuestShare || a.GetGuestMemory() > math.MaxInt64 {
				return Word{}, fmt.Errorf("read an assigned pipeline: limits of guests of %d thousandths and %d bytes", a.GetGuestShare(), a.GetGuestMemory())
			}
			u.Assigned = append(u.Assigned, Assigned{Pipeline: p, Workers: a.GetWorkers(),
				Guests: catalog.GuestLimits{Share: int(a.GetGuestShare()), MemoryBytes: int64(a.GetGuestMemory())}})
		}
		return Word{Update: u}, nil
	case *weirv1.FollowResponse_Trigger:
		t := w.Trigger
		return Word{Trigger: &scheduler.Trigger{UID: t.GetUid(), Attempt: t.GetAttempt(), ID: t.GetId(), Kind: scheduler.CheckpointKind(t.GetKind())}}, nil
	case *weirv1.FollowResponse_Abort:
		a := w.Abort
		return Word{Abort: &scheduler.Abort{UID: a.GetUid(), Attempt: a.GetAttempt(), ID: a.GetId(), Reason: a.GetReason()}}, nil
	case *weirv1.FollowResponse_Again:
		return Word{Again: true}, nil
	}
	return Word{}, nil
}

// reportMessage is a report as it travels.
func reportMessage(r Report) (*weirv1.ReportRequest, error) {
	out := &weirv1.ReportRequest{Epoch: r.Epoch, Numbers: r.Jobs != nil}
	for _, p := range r.Progress {
		out.Progress = append(out.Progress, &weirv1.JobProgress{Uid: p.UID, Attempt: p.Attempt, Count: p.Count})
	}
	for _, e := range r.Events {
		m, err := eventMessage(e)
		if err != nil {
			return nil, err
		}
		out.Events = append(out.Events, m)
	}
	for _, m := range r.Measures {
		out.Measures = append(out.Measures, &weirv1.CheckpointMeasure{
			Uid: m.UID, Checkpoint: m.Checkpoint, Align: durationpb.New(m.Align), Freeze: durationpb.New(m.Freeze),
		})
	}
	for _, l := range r.Lines {
		out.Lines = append(out.Lines, &weirv1.WorkerLogLine{
			Pipeline: l.Pipeline, Time: timestamppb.New(l.Time), Level: int32(l.Level), Operator: l.Operator, Task: uint32(l.Task), Text: l.Text,
		})
	}
	for _, j := range r.Jobs {
		out.Jobs = append(out.Jobs, jobMessage(j))
	}
	return out, nil
}

func eventMessage(e scheduler.Event) (*weirv1.WorkerEvent, error) {
	switch e := e.(type) {
	case scheduler.TasksReady:
		return &weirv1.WorkerEvent{Uid: e.UID, Attempt: e.Attempt, Event: &weirv1.WorkerEvent_Ready{Ready: true}}, nil
	case scheduler.SourcesEnded:
		return &weirv1.WorkerEvent{Uid: e.UID, Attempt: e.Attempt, Event: &weirv1.WorkerEvent_Ended{Ended: true}}, nil
	case scheduler.OutputPublished:
		return &weirv1.WorkerEvent{Uid: e.UID, Attempt: e.Attempt, Event: &weirv1.WorkerEvent_Published{Published: e.ID}}, nil
	case scheduler.TaskFailed:
		f := &weirv1.TaskFailure{Region: uint32(e.Region), Class: string(e.Class), Text: e.Text}
		if !e.Evidence.IsZero() {
			f.Evidence = e.Evidence[:]
		}
		return &weirv1.WorkerEvent{Uid: e.UID, Attempt: e.Attempt, Event: &weirv1.WorkerEvent_Failed{Failed: f}}, nil
	case scheduler.Ack:
		p := &weirv1.CheckpointPart{Id: e.ID, Inline: e.Part.Inline, Object: e.Part.Object, Prepared: e.Part.Prepared}
		if !e.Part.Digest.IsZero() {
			p.Digest = e.Part.Digest[:]
		}
		return &weirv1.WorkerEvent{Uid: e.UID, Attempt: e.Attempt, Event: &weirv1.WorkerEvent_Part{Part: p}}, nil
	case scheduler.Decline:
		return &weirv1.WorkerEvent{Uid: e.UID, Attempt: e.Attempt, Event: &weirv1.WorkerEvent_Decline{Decline: &weirv1.CheckpointDecline{Id: e.ID, Reason: e.Reason}}}, nil
	case scheduler.Holding:
		return &weirv1.WorkerEvent{Uid: e.UID, Attempt: e.Attempt, Event: &weirv1.WorkerEvent_Holding{Holding: &weirv1.CheckpointHolding{Id: e.ID, Tasks: e.Tasks}}}, nil
	case scheduler.CheckpointHeld:
		return &weirv1.WorkerEvent{Uid: e.UID, Attempt: e.Attempt, Event: &weirv1.WorkerEvent_Held{Held: &weirv1.CheckpointHeld{Id: e.ID, Kind: string(e.Kind)}}}, nil
	}
	return nil, fmt.Errorf("a worker does not report %T", e)
}

// ReportOf reads a report. Everything in it is the worker's word: what cannot be
// is refused whole.
func ReportOf(m *weirv1.ReportRequest) (Report, error) {
	r := Report{Epoch: m.GetEpoch()}
	for _, p := range m.GetProgress() {
		r.Progress = append(r.Progress, scheduler.Progress{UID: p.GetUid(), Attempt: p.GetAttempt(), Count: p.GetCount()})
	}
	for _, e := range m.GetEvents() {
		event, err := eventOf(r.Epoch, e)
		if err != nil {
			return r, err
		}
		if event != nil {
			r.Events = append(r.Events, event)
		}
	}
	for _, c := range m.GetMeasures() {
		r.Measures = append(r.Measures, Measure{UID: c.GetUid(), Checkpoint: c.GetCheckpoint(), Align: c.GetAlign().AsDuration(), Freeze: c.GetFreeze().AsDuration()})
	}
	for _, l := range m.GetLines() {
		r.Lines = append(r.Lines, Line{
			Pipeline: l.GetPipeline(), Time: l.GetTime().AsTime(), Level: slog.Level(l.GetLevel()), Operator: l.GetOperator(), Task: int(l.GetTask()), Text: l.GetText(),
		})
	}
	if m.GetNumbers() {
		r.Jobs = []JobNumbers{}
		for _, j := range m.GetJobs() {
			r.Jobs = append(r.Jobs, jobOf(j))
		}
	}
	return r, nil
}

// eventOf reads an event; nil for one of a newer worker that is unknown here.
func eventOf(epoch uint64, m *weirv1.WorkerEvent) (scheduler.Event, error) {
	uid, attempt := m.GetUid(), m.GetAttempt()
	switch e := m.GetEvent().(type) {
	case *weirv1.WorkerEvent_Ready:
		return scheduler.TasksReady{Worker: epoch, UID: uid, Attempt: attempt}, nil
	case *weirv1.WorkerEvent_Ended:
		return scheduler.SourcesEnded{Worker: epoch, UID: uid, Attempt: attempt}, nil
	case *weirv1.WorkerEvent_Published:
		return scheduler.OutputPublished{Worker: epoch, UID: uid, Attempt: attempt, ID: e.Published}, nil
	case *weirv1.WorkerEvent_Failed:
		f := e.Failed
		out := scheduler.TaskFailed{Worker: epoch, UID: uid, Attempt: attempt, Region: int(f.GetRegion()), Class: catalog.ErrorClass(f.GetClass()), Text: f.GetText()}
		switch out.Class {
		case catalog.ErrorUser, catalog.ErrorRetryable, catalog.ErrorBug:
		default:
			return nil, fmt.Errorf("a failure of class %q", f.GetClass())
		}
		return out, digestInto(&out.Evidence, f.GetEvidence())
	case *weirv1.WorkerEvent_Part:
		p := e.Part
		out := scheduler.Ack{Worker: epoch, UID: uid, Attempt: attempt, ID: p.GetId(), Part: scheduler.Part{Inline: p.GetInline(), Object: p.GetObject(), Prepared: p.GetPrepared()}}
		err := digestInto(&out.Part.Digest, p.GetDigest())
		return out, err
	case *weirv1.WorkerEvent_Decline:
		return scheduler.Decline{Worker: epoch, UID: uid, Attempt: attempt, ID: e.Decline.GetId(), Reason: e.Decline.GetReason()}, nil
	case *weirv1.WorkerEvent_Holding:
		return scheduler.Holding{Worker: epoch, UID: uid, Attempt: attempt, ID: e.Holding.GetId(), Tasks: e.Holding.GetTasks()}, nil
	case *weirv1.WorkerEvent_Held:
		return scheduler.CheckpointHeld{Worker: epoch, UID: uid, Attempt: attempt, ID: e.Held.GetId(), Kind: scheduler.CheckpointKind(e.Held.GetKind())}, nil
	}
	return nil, nil
}

func digestInto(d *catalog.Digest, b []byte) error {
	if len(b) != 0 && len(b) != len(d) {
		return fmt.Errorf("a digest of %d bytes, it has %d", len(b), len(d))
	}
	copy(d[:], b)
	return nil
}

func jobMessage(j JobNumbers) *weirv1.JobNumbers {
	out := &weirv1.JobNumbers{Uid: j.UID, Attempt: j.Attempt}
	for _, t := range j.Tasks {
		m := &weirv1.TaskNumbers{Stage: uint32(t.Stage), Index: uint32(t.Index), Busy: durationpb.New(t.Busy), Waited: durationpb.New(t.Waited)}
		for _, o := range t.Operators {
			m.Operators = append(m.Operators, &weirv1.OperatorNumbers{
				Id: o.ID, Kind: o.Kind, RecordsIn: o.RecordsIn, RecordsOut: o.RecordsOut, BytesIn: o.BytesIn, BytesOut: o.BytesOut,
				Late: o.Late, DeadLetters: o.DeadLetters, Lag: o.Lag, WatermarkMicros: o.WatermarkMicros,
				StateKeys: o.StateKeys, StateBytes: o.StateBytes, Timers: o.Timers, StateLeft: o.StateLeft,
				GuestCalls: o.GuestCalls, GuestTraps: o.GuestTraps, GuestNanos: o.GuestNanos, GuestMemory: o.GuestMemory,
			})
		}
		out.Tasks = append(out.Tasks, m)
	}
	return out
}

func jobOf(m *weirv1.JobNumbers) JobNumbers {
	out := JobNumbers{UID: m.GetUid(), Attempt: m.GetAttempt()}
	for _, t := range m.GetTasks() {
		n := TaskNumbers{Stage: int(t.GetStage()), Index: int(t.GetIndex()), Busy: t.GetBusy().AsDuration(), Waited: t.GetWaited().AsDuration()}
		for _, o := range t.GetOperators() {
			n.Operators = append(n.Operators, OperatorNumbers{
				ID: o.GetId(), Kind: o.GetKind(), RecordsIn: o.GetRecordsIn(), RecordsOut: o.GetRecordsOut(), BytesIn: o.GetBytesIn(), BytesOut: o.GetBytesOut(),
				Late: o.GetLate(), DeadLetters: o.GetDeadLetters(), Lag: o.GetLag(), WatermarkMicros: o.GetWatermarkMicros(),
				StateKeys: o.GetStateKeys(), StateBytes: o.GetStateBytes(), Timers: o.GetTimers(), StateLeft: o.GetStateLeft(),
				GuestCalls: o.GetGuestCalls(), GuestTraps: o.GetGuestTraps(), GuestNanos: o.GetGuestNanos(), GuestMemory: o.GetGuestMemory(),
			})
		}
		out.Tasks = append(out.Tasks, n)
	}
	return out
}

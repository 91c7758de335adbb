package cluster

import (
	"reflect"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/raftmeta/catalog"
	"github.com/weirstream/weir/scheduler"
)

func TestReportsArriveAsTheyWereSent(t *testing.T) {
	digest := catalog.Digest{1, 2, 3}
	sent := Report{
		Epoch:    7,
		Progress: []scheduler.Progress{{UID: "p", Attempt: 2, Count: 9}},
		Events: []scheduler.Event{
			scheduler.TasksReady{Worker: 7, UID: "p", Attempt: 2},
			scheduler.SourcesEnded{Worker: 7, UID: "p", Attempt: 2},
			scheduler.OutputPublished{Worker: 7, UID: "p", Attempt: 2, ID: 11},
			scheduler.TaskFailed{Worker: 7, UID: "p", Attempt: 2, Region: 1, Class: catalog.ErrorBug, Text: "x", Evidence: digest},
			scheduler.Ack{Worker: 7, UID: "p", Attempt: 2, ID: 12, Part: scheduler.Part{Inline: []byte("part"), Prepared: true}},
			scheduler.Ack{Worker: 7, UID: "p", Attempt: 2, ID: 13, Part: scheduler.Part{Object: "o", Digest: digest}},
			scheduler.Decline{Worker: 7, UID: "p", Attempt: 2, ID: 14, Reason: "full"},
			scheduler.CheckpointHeld{Worker: 7, UID: "p", Attempt: 2, ID: 16, Kind: scheduler.FinalStop},
			scheduler.Holding{Worker: 7, UID: "p", Attempt: 2, ID: 15, Tasks: []string{"a/0"}},
		},
		Measures: []Measure{{UID: "p", Checkpoint: 12, Align: time.Second, Freeze: time.Millisecond}},
		Lines:    []Line{{Pipeline: "default/p", Time: time.Unix(5, 0).UTC(), Level: 4, Operator: "op", Task: 3, Text: "hello"}},
		Jobs: []JobNumbers{{UID: "p", Attempt: 2, Tasks: []TaskNumbers{{Stage: 1, Index: 2, Busy: time.Second, Waited: time.Minute, Operators: []OperatorNumbers{{
			ID: "op", Kind: "k", RecordsIn: 1, RecordsOut: 2, BytesIn: 3, BytesOut: 4, Late: 5, DeadLetters: 6, Lag: 7, WatermarkMicros: -8,
			StateKeys: 9, StateBytes: 10, Timers: 11, GuestCalls: 12, GuestTraps: 13, GuestNanos: 14, GuestMemory: 15, StateLeft: 16,
		}}}}}},
	}
	m, err := reportMessage(sent)
	if err != nil {
		t.Fatal(err)
	}
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var arrived weirv1.ReportRequest
	if err := proto.Unmarshal(b, &arrived); err != nil {
		t.Fatal(err)
	}
	got, err := ReportOf(&arrived)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, sent) {
		t.Errorf("sent\n%+v\narrived\n%+v", sent, got)
	}
}

func TestWordsArriveAsTheyWereSaid(t *testing.T) {
	p := &catalog.Pipeline{UID: "p1", Namespace: "default", Name: "p", Job: catalog.Job{
		State: catalog.JobStarting, Attempt: 3, Regions: []uint64{3}, Slots: catalog.SlotsOf([]uint64{4, 4, 5}),
		Last: &catalog.Checkpoint{ID: 9, Attempt: 2, Manifest: catalog.Digest{9}},
	}}
	for _, said := range []Word{
		{},
		{Again: true},
		{Update: &Update{Resync: true, Assigned: []Assigned{{Pipeline: p, Workers: map[uint64]string{4: "a:1", 5: "b:2"}, Guests: catalog.GuestLimits{Share: 500, MemoryBytes: 1 << 40}}}, Gone: []string{"p0"}}},
		{Trigger: &scheduler.Trigger{UID: "p1", Attempt: 3, ID: 10, Kind: scheduler.FinalStop}},
		{Abort: &scheduler.Abort{UID: "p1", Attempt: 3, ID: 10, Reason: "late"}},
	} {
		m, err := WordMessage(said)
		if err != nil {
			t.Fatal(err)
		}
		heard, err := wordOf(m)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(heard, said) {
			t.Errorf("said %+v, heard %+v", said, heard)
		}
	}
}

func FuzzReportOf(f *testing.F) {
	f.Add([]byte{})
	m, _ := reportMessage(Report{Epoch: 1, Events: []scheduler.Event{scheduler.Ack{UID: "p", ID: 1, Part: scheduler.Part{Digest: catalog.Digest{1}}}}})
	seed, _ := proto.Marshal(m)
	f.Add(seed)
	f.Fuzz(func(t *testing.T, b []byte) {
		var m weirv1.ReportRequest
		if proto.Unmarshal(b, &m) != nil {
			return
		}
		r, err := ReportOf(&m)
		if err != nil {
			return
		}
		again, err := reportMessage(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ReportOf(again); err != nil {
			t.Fatal(err)
		}
	})
}

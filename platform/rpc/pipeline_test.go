package rpc_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/weirstream/weir/abi/frame"
	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/connector/jetstream"
	"github.com/weirstream/weir/platform/logbook"
	"github.com/weirstream/weir/platform/operator/deadletter"
	"github.com/weirstream/weir/platform/topics"
	"github.com/weirstream/weir/raftmeta/catalog"
)

const sums = `pipeline: sums
module: build/count_sum.wasm
sources:
  numbers: {topic: numbers, format: json, columns: "key:int64,value:int64,pad:utf8"}
operators:
  total: {function: count_sum, input: numbers}
sinks:
  sums: {topic: sums, input: total, format: json, key: key}
`

// registered makes topics and module, and registers the pipeline without starting it.
func registered(t *testing.T) *world {
	w := newWorld(t)
	w.createTopic(t, "numbers", 2)
	w.createTopic(t, "sums", 2)
	w.pushCountSum(t)
	call(t, w.pipeline.ApplyPipeline, &weirv1.ApplyPipelineRequest{File: sums, Stopped: true})
	return w
}

func TestAPipelineIsAppliedOnceAndSaysWhatItUses(t *testing.T) {
	w := registered(t)
	again := call(t, w.pipeline.ApplyPipeline, &weirv1.ApplyPipelineRequest{File: sums, Stopped: true})
	if !again.GetUnchanged() || again.GetPipeline().GetRevision() != 1 {
		t.Fatalf("the second time: %v", again)
	}
	got := call(t, w.pipeline.GetPipeline, &weirv1.GetPipelineRequest{Name: "sums"})
	p := got.GetStatus().GetPipeline()
	if got.GetFile() != sums || p.GetDesired() != "stopped" || p.GetState() != "created" || p.GetParallelism() != 1 || p.GetUid() == "" {
		t.Fatalf("got %v", got)
	}
	if len(p.GetModules()) != 1 || !strings.HasPrefix(p.GetModules()[0], "count_sum@sha256:") || len(got.GetStatus().GetWarnings()) != 1 {
		t.Fatalf("got %v", got)
	}
	letters, ok := w.node.View().Topic("default", "sums-dead-letters")
	if !ok || letters.System != "dead_letter" || letters.Layout != catalog.LayoutFrames {
		t.Fatalf("topic of dead letters: %v", letters)
	}
	info := call(t, w.topic.GetTopic, &weirv1.GetTopicRequest{Name: "numbers"})
	if !slices.Equal(info.GetReadBy(), []string{"sums"}) || len(info.GetWrittenBy()) != 0 {
		t.Fatalf("numbers is read by %v and written by %v", info.GetReadBy(), info.GetWrittenBy())
	}
	info = call(t, w.topic.GetTopic, &weirv1.GetTopicRequest{Name: "sums"})
	if !slices.Equal(info.GetWrittenBy(), []string{"sums"}) {
		t.Fatalf("sums is written by %v", info.GetWrittenBy())
	}
	module := call(t, w.module.GetModule, &weirv1.GetModuleRequest{Name: "count_sum"})
	if !slices.Equal(module.GetUsedBy(), []string{"sums"}) || !json.Valid([]byte(module.GetManifestJson())) {
		t.Fatalf("module %v", module)
	}
	refused(t, connect.CodeFailedPrecondition, w.module.DeleteModule, &weirv1.DeleteModuleRequest{Name: "count_sum"})
	if list := call(t, w.pipeline.ListPipelines, &weirv1.ListPipelinesRequest{}).GetPipelines(); len(list) != 1 || list[0].GetName() != "sums" {
		t.Fatalf("list %v", list)
	}
}

func TestProblemsOfAFileHavePlaceAndHint(t *testing.T) {
	w := newWorld(t)
	w.createTopic(t, "numbers", 1)
	w.createTopic(t, "sums", 1)
	w.pushCountSum(t)
	bad := strings.ReplaceAll(strings.ReplaceAll(sums, "topic: numbers", "topic: numbres"), "function: count_sum", "function: count_sums")
	v := call(t, w.pipeline.ValidatePipeline, &weirv1.ValidatePipelineRequest{File: bad})
	if len(v.GetProblems()) != 2 || v.GetName() != "sums" {
		t.Fatalf("problems %v", v)
	}
	for i, want := range []struct {
		line uint32
		hint string
	}{{4, "numbers"}, {6, "count_sum"}} {
		if p := v.GetProblems()[i]; p.GetLine() != want.line || p.GetColumn() == 0 || !strings.Contains(p.GetHint(), want.hint) {
			t.Errorf("problem %d: %v", i, p)
		}
	}
	_, attached := refused(t, connect.CodeInvalidArgument, w.pipeline.ApplyPipeline, &weirv1.ApplyPipelineRequest{File: bad})
	if len(attached) != 2 || attached[1].GetLine() != 6 {
		t.Fatalf("attached %v", attached)
	}
	refused(t, connect.CodeInvalidArgument, w.pipeline.DiffPipeline, &weirv1.DiffPipelineRequest{File: "pipeline: [1"})
	if v := call(t, w.pipeline.ValidatePipeline, &weirv1.ValidatePipelineRequest{File: sums}); len(v.GetProblems()) != 0 || v.GetName() != "sums" {
		t.Fatalf("a good file: %v", v)
	}
	if _, made := w.node.View().Topic("default", "sums-dead-letters"); made {
		t.Fatal("a check made a topic")
	}
}

func TestADiffSaysStateFirst(t *testing.T) {
	w := registered(t)
	same := call(t, w.pipeline.DiffPipeline, &weirv1.DiffPipelineRequest{File: sums})
	if !same.GetExists() || len(same.GetGraph()) != 0 || fmt.Sprint(kinds(same)) != "[numbers/positions KEPT total/total KEPT]" {
		t.Fatalf("the same file: %v", same)
	}
	renamed := strings.ReplaceAll(strings.ReplaceAll(sums, "  total:", "  add:"), "input: total", "input: add")
	d := call(t, w.pipeline.DiffPipeline, &weirv1.DiffPipelineRequest{File: renamed})
	if fmt.Sprint(kinds(d)) != "[numbers/positions KEPT add/total NEW total/total DROPPED]" || len(d.GetGraph()) == 0 {
		t.Fatalf("renamed: %v %v", kinds(d), d.GetGraph())
	}
	w.createTopic(t, "others", 2)
	moved := call(t, w.pipeline.DiffPipeline, &weirv1.DiffPipelineRequest{File: strings.ReplaceAll(sums, "topic: numbers", "topic: others")})
	if fmt.Sprint(kinds(moved)) != "[numbers/positions INCOMPATIBLE total/total KEPT]" {
		t.Fatalf("another topic: %v", kinds(moved))
	}
}

func kinds(d *weirv1.DiffPipelineResponse) []string {
	var out []string
	for _, s := range d.GetState() {
		out = append(out, s.GetOperator()+"/"+s.GetState()+" "+strings.TrimPrefix(s.GetKind().String(), "KIND_"))
	}
	return out
}

// ran gives the pipeline a checkpoint, as if it had run and stopped.
func (w *world) ran(t *testing.T, name string) *catalog.Pipeline {
	t.Helper()
	p, _ := w.node.View().PipelineNamed("default", name)
	propose := func(c catalog.Command) catalog.Result {
		t.Helper()
		r, err := w.node.Propose(t.Context(), c)
		must(t, err)
		return r
	}
	propose(&catalog.SetDesired{UID: p.UID, Desired: catalog.DesiredRunning})
	epoch := propose(&catalog.RegisterWorker{ID: "w", Address: "here", Slots: 4, Version: "v"}).Number
	attempt := p.Job.Attempt + 1
	propose(&catalog.StartAttempt{UID: p.UID, Attempt: attempt, Revision: p.Current.Number, Slots: catalog.SlotsOf([]uint64{epoch})})
	propose(&catalog.SetJobState{UID: p.UID, Attempt: attempt, To: catalog.JobRunning})
	id := propose(&catalog.ReserveCheckpoints{UID: p.UID, Count: 5}).Range.First
	for i := range uint64(2) {
		propose(&catalog.CommitCheckpoints{At: time.Now().UnixMicro(), Items: []catalog.Commit{{UID: p.UID, ID: id + i, Attempt: attempt, Manifest: catalog.Digest{byte(i + 1)}}}})
	}
	now, _ := w.node.View().Pipeline(p.UID)
	return now
}

func (w *world) stopped(t *testing.T, p *catalog.Pipeline) {
	t.Helper()
	call(t, w.pipeline.StopPipeline, &weirv1.StopPipelineRequest{Name: p.Name})
	for _, to := range []catalog.JobState{catalog.JobStopping, catalog.JobStopped} {
		_, err := w.node.Propose(t.Context(), &catalog.SetJobState{UID: p.UID, Attempt: p.Job.Attempt, To: to})
		must(t, err)
	}
}

func TestStateIsNotLostWithoutAWord(t *testing.T) {
	w := registered(t)
	w.stopped(t, w.ran(t, "sums"))
	renamed := strings.ReplaceAll(strings.ReplaceAll(sums, "  total:", "  add:"), "input: total", "input: add")
	text, problems := refused(t, connect.CodeFailedPrecondition, w.pipeline.ApplyPipeline, &weirv1.ApplyPipelineRequest{File: renamed})
	if !strings.Contains(text, "state total of operator total") || len(problems) != 1 || !strings.Contains(problems[0].GetHint(), "--allow-dropped-state") {
		t.Fatalf("%s %v", text, problems)
	}
	applied := call(t, w.pipeline.ApplyPipeline, &weirv1.ApplyPipelineRequest{File: renamed, AllowDroppedState: true})
	if applied.GetPipeline().GetRevision() != 2 || applied.GetUnchanged() {
		t.Fatalf("applied %v", applied)
	}
	w.createTopic(t, "others", 2)
	moved := strings.ReplaceAll(renamed, "topic: numbers", "topic: others")
	refused(t, connect.CodeFailedPrecondition, w.pipeline.ApplyPipeline, &weirv1.ApplyPipelineRequest{File: moved, AllowDroppedState: true})
}

func TestARunningPipelineHoldsItsTopicsAndIsNotDeleted(t *testing.T) {
	w := registered(t)
	p := w.ran(t, "sums")
	text, problems := refused(t, connect.CodeFailedPrecondition, w.topic.DeleteTopic, &weirv1.DeleteTopicRequest{Name: "numbers"})
	if !strings.Contains(text, "pipeline sums") || problems[0].GetHint() != "stop it first: weir pipeline stop sums" {
		t.Fatalf("%s %v", text, problems)
	}
	refused(t, connect.CodeFailedPrecondition, w.pipeline.DeletePipeline, &weirv1.DeletePipelineRequest{Name: "sums"})
	list := call(t, w.pipeline.ListCheckpoints, &weirv1.ListCheckpointsRequest{Name: "sums"}).GetCheckpoints()
	if len(list) != 2 || list[0].GetId() != list[1].GetId()+1 || !list[0].GetPublished() || list[0].GetAttempt() != 1 {
		t.Fatalf("checkpoints %v", list)
	}
	w.stopped(t, p)
	older := list[1].GetId()
	refused(t, connect.CodeFailedPrecondition, w.pipeline.ResumePipeline, &weirv1.ResumePipelineRequest{Name: "sums", FromCheckpoint: older})
	refused(t, connect.CodeNotFound, w.pipeline.ResumePipeline, &weirv1.ResumePipelineRequest{Name: "sums", FromCheckpoint: 1 << 40, AllowDuplicates: true})
	call(t, w.pipeline.ResumePipeline, &weirv1.ResumePipelineRequest{Name: "sums", FromCheckpoint: older, AllowDuplicates: true})
	if now, _ := w.node.View().Pipeline(p.UID); now.Job.Last.ID != older || now.Desired != catalog.DesiredRunning {
		t.Fatalf("resumed from %v", now.Job.Last)
	}
	call(t, w.pipeline.StopPipeline, &weirv1.StopPipelineRequest{Name: "sums"})
	call(t, w.pipeline.DeletePipeline, &weirv1.DeletePipelineRequest{Name: "sums"})
	if !slices.Equal(w.deleted, []string{p.UID}) {
		t.Fatalf("swept %v", w.deleted)
	}
	refused(t, connect.CodeNotFound, w.pipeline.GetPipeline, &weirv1.GetPipelineRequest{Name: "sums"})
	call(t, w.topic.DeleteTopic, &weirv1.DeleteTopicRequest{Name: "numbers"})
}

// bury stores dead letters as a sink would, in one frame.
func (w *world) bury(t *testing.T, values ...string) {
	t.Helper()
	b := frame.NewBuilder(deadletter.Schema)
	column := func(name string) *frame.ColumnBuilder { return b.Column(deadletter.Schema.Index(name)) }
	for i, v := range values {
		column("pipeline").AppendString("default/sums")
		column("operator").AppendString("total")
		column("task").AppendInt32(0)
		column("reason").AppendString("it is no number")
		column("time").AppendInt64(1_000_000)
		column("topic").AppendString("numbers")
		column("partition").AppendInt32(1)
		column("sequence").AppendInt64(int64(40 + i))
		column("row").AppendInt32(0)
		column("key").AppendBytes([]byte("k"))
		column("value").AppendBytes([]byte(v))
		column("decoded").AppendBool(false)
	}
	data, err := frame.AppendStored(nil, frame.Stored{Schema: b.Schema(), Rows: len(values), Columns: b.Columns()}, frame.CodecNone)
	must(t, err)
	topic, _ := w.node.View().Topic("default", "sums-dead-letters")
	p, err := jetstream.NewPublisher(t.Context(), w.conn, topics.Convert(topic), jetstream.PublisherOptions{})
	must(t, err)
	_, err = p.PublishFrame(t.Context(), 0, data)
	must(t, err)
	must(t, p.Flush(t.Context()))
	must(t, p.Close())
}

func TestDeadLettersAreListedByUniqueIDsAndReplayed(t *testing.T) {
	w := registered(t)
	if r := call(t, w.pipeline.ListDeadLetters, &weirv1.ListDeadLettersRequest{Name: "sums"}); r.GetTotal() != 0 {
		t.Fatalf("letters of a new pipeline: %v", r)
	}
	w.bury(t, "a", "b")
	w.bury(t, "c")
	r := call(t, w.pipeline.ListDeadLetters, &weirv1.ListDeadLettersRequest{Name: "sums", Limit: 2})
	if r.GetTotal() != 3 || len(r.GetLetters()) != 2 {
		t.Fatalf("letters %v", r)
	}
	second := r.GetLetters()[1]
	if string(second.GetValue()) != "b" || second.GetRow() != 1 || second.GetSequence() != 41 || second.GetTopic() != "numbers" || second.GetReason() != "it is no number" {
		t.Fatalf("second %v", second)
	}
	rest := call(t, w.pipeline.ListDeadLetters, &weirv1.ListDeadLettersRequest{Name: "sums", After: second.GetId()}).GetLetters()
	if len(rest) != 1 || string(rest[0].GetValue()) != "c" {
		t.Fatalf("after the second: %v", rest)
	}
	one := call(t, w.pipeline.ListDeadLetters, &weirv1.ListDeadLettersRequest{Name: "sums", After: second.GetId() - 1, Limit: 1}).GetLetters()
	if len(one) != 1 || one[0].GetId() != second.GetId() {
		t.Fatalf("the second alone: %v", one)
	}
	refused(t, connect.CodeNotFound, w.pipeline.ReplayDeadLetters, &weirv1.ReplayDeadLettersRequest{Name: "sums", Ids: []uint64{second.GetId(), 7}})
	if n := call(t, w.pipeline.ReplayDeadLetters, &weirv1.ReplayDeadLettersRequest{Name: "sums", Ids: []uint64{second.GetId()}}).GetRecords(); n != 1 {
		t.Fatalf("%d replayed", n)
	}
	if n := call(t, w.pipeline.ReplayDeadLetters, &weirv1.ReplayDeadLettersRequest{Name: "sums"}).GetRecords(); n != 3 {
		t.Fatalf("%d replayed", n)
	}
	// What was replayed already is left out by the id behind which it goes on.
	newer := call(t, w.pipeline.ReplayDeadLetters, &weirv1.ReplayDeadLettersRequest{Name: "sums", After: second.GetId()})
	if newer.GetRecords() != 1 || newer.GetLast() != rest[0].GetId() {
		t.Fatalf("replayed behind the second: %v", newer)
	}
	if none := call(t, w.pipeline.ReplayDeadLetters, &weirv1.ReplayDeadLettersRequest{Name: "sums", After: newer.GetLast()}); none.GetRecords() != 0 {
		t.Fatalf("replayed behind the last: %v", none)
	}
	var got []string
	for _, rec := range w.read(t, &weirv1.ReadRequest{Topic: "numbers", From: &weirv1.ReadRequest_Start{Start: true}, UntilEnd: true}) {
		got = append(got, string(rec.GetKey())+"="+string(rec.GetValue()))
	}
	if fmt.Sprint(got) != "[k=b k=a k=b k=c k=c]" {
		t.Fatalf("the topic holds %v", got)
	}
}

func TestLogsAreGivenAndFollowed(t *testing.T) {
	w := registered(t)
	add := func(text string) {
		w.logs.Add("default/sums", logbook.Line{Time: time.Unix(1, 0), Level: slog.LevelWarn, Operator: "total", Task: 1, Text: text})
	}
	for i := range 5 {
		add(fmt.Sprint(i))
	}
	s, err := w.pipeline.Logs(t.Context(), connect.NewRequest(&weirv1.LogsRequest{Name: "sums", Tail: 2, Follow: true}))
	must(t, err)
	defer s.Close()
	if !s.Receive() || len(s.Msg().GetLines()) != 2 || s.Msg().GetLines()[0].GetText() != "3" || s.Msg().GetLines()[1].GetLevel() != "warn" {
		t.Fatalf("past: %v %v", s.Msg(), s.Err())
	}
	add("fresh")
	if !s.Receive() || s.Msg().GetLines()[0].GetText() != "fresh" {
		t.Fatalf("fresh: %v %v", s.Msg(), s.Err())
	}
}

func TestAWatcherHearsOfChangesAndOfTheEnd(t *testing.T) {
	w := registered(t)
	s, err := w.pipeline.WatchPipeline(t.Context(), connect.NewRequest(&weirv1.WatchPipelineRequest{Name: "sums"}))
	must(t, err)
	defer s.Close()
	if !s.Receive() || s.Msg().GetStatus().GetPipeline().GetDesired() != "stopped" {
		t.Fatalf("at once: %v %v", s.Msg(), s.Err())
	}
	call(t, w.pipeline.ResumePipeline, &weirv1.ResumePipelineRequest{Name: "sums"})
	if !s.Receive() || s.Msg().GetStatus().GetPipeline().GetDesired() != "running" {
		t.Fatalf("changed: %v %v", s.Msg(), s.Err())
	}
	call(t, w.pipeline.StopPipeline, &weirv1.StopPipelineRequest{Name: "sums"})
	call(t, w.pipeline.DeletePipeline, &weirv1.DeletePipelineRequest{Name: "sums"})
	for s.Receive() {
	}
	if connect.CodeOf(s.Err()) != connect.CodeNotFound {
		t.Fatalf("the end: %v", s.Err())
	}
}

func TestWhoKeepsAModuleFromBeingDeletedIsNamed(t *testing.T) {
	w := registered(t)
	_, found := refused(t, connect.CodeFailedPrecondition, w.module.DeleteModule, &weirv1.DeleteModuleRequest{Name: "count_sum"})
	if len(found) != 1 || !strings.Contains(found[0].GetHint(), "used by sums:") {
		t.Errorf("found %v", found)
	}
}

func TestAnotherCheckpointIsRefusedWithTheWayOutWhileTheJobHasTasks(t *testing.T) {
	w := registered(t)
	p := w.ran(t, "sums")
	text, found := refused(t, connect.CodeFailedPrecondition, w.pipeline.ResumePipeline, &weirv1.ResumePipelineRequest{Name: "sums", FromCheckpoint: p.Job.Retained[0].ID, AllowDuplicates: true})
	if len(found) != 1 || !strings.Contains(found[0].GetHint(), "weir pipeline stop sums") || !strings.Contains(text, "its job is ") {
		t.Errorf("%s %v", text, found)
	}
}

func TestAServerWithoutAPortForNATSShowsNoLineForIt(t *testing.T) {
	w := newWorld(t)
	w.createTopic(t, "flights", 1)
	inside := topics.New(topics.Options{Node: w.node, Conn: w.conn})
	defer func() { must(t, inside.Close()) }()
	info, err := inside.Get(t.Context(), &weirv1.GetTopicRequest{Name: "flights"})
	must(t, err)
	if info.GetPublishExample() != "" {
		t.Errorf("a line that cannot work: %s", info.GetPublishExample())
	}
}

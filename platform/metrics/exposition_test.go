package metrics

import (
	"bufio"
	"net/http/httptest"
	"strings"
	"testing"
)

// scrape reads /metrics as Prometheus does and gives Weir's lines.
func scrape(t *testing.T, s Snapshot) (lines []string) {
	t.Helper()
	w := httptest.NewRecorder()
	Handler(func() Snapshot { return s }).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	in := bufio.NewScanner(w.Body)
	for in.Scan() {
		if strings.Contains(in.Text(), "weir_") {
			lines = append(lines, in.Text())
		}
	}
	return lines
}

func TestEachNumberIsShownOnceWithItsLabels(t *testing.T) {
	s := Snapshot{Images: Images{Taken: 3, Used: 11, Bytes: 4096}, Functions: &Functions{Sent: 12, Calls: 5, Answers: 3, Timeouts: 1, Waiting: 2}, Pipelines: []Pipeline{
		{
			Namespace: "default", Name: "p", State: "running", Restarts: 2,
			Operators: []Operator{
				{ID: "in", First: true, Source: true, RecordsOut: 7, BytesIn: 70, Lag: 3, HasWatermark: true, WatermarkMicros: 1_500_000, Busy: 1.5, Waited: 0.25},
				{ID: "count", Task: 1, First: true, RecordsIn: 7, RecordsOut: 6, Late: 1, DeadLetters: 1, StateKeys: 4, StateBytes: 400, StateLeft: 50, StateDisk: 4096, StateHits: 90, StateMisses: 10, Timers: 2, GuestCalls: 5, GuestSeconds: 0.5, GuestMemory: 65536, GuestTraps: 1},
				{ID: "sink.out", Task: 1, RecordsIn: 6, BytesOut: 60},
			},
			Checkpoint: Checkpoint{ID: 9, CommittedMicros: 2_000_000, DurationSeconds: 0.1, SizeBytes: 10, TotalBytes: 100, AlignSeconds: 0.01, StopForSeconds: 0.001, Stuck: true},
			User:       []UserMetric{{Operator: "count", Name: "seen", Value: 8}, {Operator: "count", Name: "depth", Gauge: true, Value: -1}},
		},
		{Namespace: "team", Name: "p", State: "stopped"}, // the same name elsewhere, and never a checkpoint
	}}
	want := []string{
		`weir_guest_images_taken_total 3`,
		`weir_guest_images_used_total 11`,
		`weir_guest_images_bytes 4096`,
		`weir_function_messages_total 12`,
		`weir_function_calls_total 5`,
		`weir_function_answers_total 3`,
		`weir_function_call_timeouts_total 1`,
		`weir_function_calls_waiting 2`,
		`weir_pipeline_state{namespace="default",pipeline="p",state="running"} 1`,
		`weir_pipeline_state{namespace="team",pipeline="p",state="stopped"} 1`,
		`weir_pipeline_restarts_total{namespace="default",pipeline="p"} 2`,
		`weir_pipeline_restarts_total{namespace="team",pipeline="p"} 0`,
		`weir_checkpoint_last_id{namespace="default",pipeline="p"} 9`,
		`weir_checkpoint_last_committed_seconds{namespace="default",pipeline="p"} 2`,
		`weir_checkpoint_duration_seconds{namespace="default",pipeline="p"} 0.1`,
		`weir_checkpoint_size_bytes{namespace="default",pipeline="p"} 10`,
		`weir_checkpoint_total_bytes{namespace="default",pipeline="p"} 100`,
		`weir_checkpoint_align_seconds{namespace="default",pipeline="p"} 0.01`,
		`weir_checkpoint_freeze_seconds{namespace="default",pipeline="p"} 0.001`,
		`weir_checkpoint_stuck{namespace="default",pipeline="p"} 1`,
		`weir_checkpoint_stuck{namespace="team",pipeline="p"} 0`,
		`weir_operator_records_in_total{namespace="default",operator="count",pipeline="p",task="1"} 7`,
		`weir_operator_records_out_total{namespace="default",operator="in",pipeline="p",task="0"} 7`,
		`weir_operator_bytes_in_total{namespace="default",operator="in",pipeline="p",task="0"} 70`,
		`weir_operator_bytes_out_total{namespace="default",operator="sink.out",pipeline="p",task="1"} 60`,
		`weir_operator_late_records_total{namespace="default",operator="count",pipeline="p",task="1"} 1`,
		`weir_operator_dead_letters_total{namespace="default",operator="count",pipeline="p",task="1"} 1`,
		`weir_source_lag_records{namespace="default",operator="in",pipeline="p",task="0"} 3`,
		`weir_operator_watermark_seconds{namespace="default",operator="in",pipeline="p",task="0"} 1.5`,
		`weir_task_busy_seconds_total{namespace="default",operator="in",pipeline="p",task="0"} 1.5`,
		`weir_task_backpressured_seconds_total{namespace="default",operator="in",pipeline="p",task="0"} 0.25`,
		`weir_operator_state_keys{namespace="default",operator="count",pipeline="p",task="1"} 4`,
		`weir_operator_state_bytes{namespace="default",operator="count",pipeline="p",task="1"} 400`,
		`weir_operator_state_left_bytes{namespace="default",operator="count",pipeline="p",task="1"} 50`,
		`weir_operator_state_disk_bytes{namespace="default",operator="count",pipeline="p",task="1"} 4096`,
		`weir_operator_state_hits_total{namespace="default",operator="count",pipeline="p",task="1"} 90`,
		`weir_operator_state_misses_total{namespace="default",operator="count",pipeline="p",task="1"} 10`,
		`weir_operator_timers{namespace="default",operator="count",pipeline="p",task="1"} 2`,
		`weir_guest_calls_total{namespace="default",operator="count",pipeline="p",task="1"} 5`,
		`weir_guest_seconds_total{namespace="default",operator="count",pipeline="p",task="1"} 0.5`,
		`weir_guest_memory_bytes{namespace="default",operator="count",pipeline="p",task="1"} 65536`,
		`weir_guest_traps_total{namespace="default",operator="count",pipeline="p",task="1"} 1`,
		`weir_user_counter_total{name="seen",namespace="default",operator="count",pipeline="p"} 8`,
		`weir_user_gauge{name="depth",namespace="default",operator="count",pipeline="p"} -1`,
	}
	lines := scrape(t, s)
	count := map[string]int{}
	types := map[string]int{}
	for _, l := range lines {
		switch f := strings.Fields(l); {
		case strings.HasPrefix(l, "# TYPE"):
			types[f[2]]++
			if (f[3] == "counter") != strings.HasSuffix(f[2], "_total") {
				t.Errorf("%s: counters, and nothing else, end in _total", l)
			}
		case !strings.HasPrefix(l, "#"):
			count[l]++
		}
	}
	for _, l := range want {
		if count[l] != 1 {
			t.Errorf("%s stands there %d times, want once", l, count[l])
		}
		if name, _, _ := strings.Cut(strings.Fields(l)[0], "{"); types[name] != 1 {
			t.Errorf("%s is declared %d times, want once", name, types[name])
		}
	}
	for l := range count {
		if strings.Contains(l, `"team"`) && strings.Contains(l, "checkpoint_last") {
			t.Errorf("%s, though there was no checkpoint", l)
		}
		if strings.Contains(l, `"sink.out"`) && (strings.Contains(l, "guest") || strings.Contains(l, "watermark") || strings.Contains(l, "lag") || strings.Contains(l, "busy")) {
			t.Errorf("%s, which a sink in a chain does not have", l)
		}
	}
}

func TestWhatAGuestReportsSpoilsNoOtherNumber(t *testing.T) {
	for _, user := range [][]UserMetric{
		{{Operator: "f", Name: "x", Value: 1}, {Operator: "f", Name: "x", Value: 2}},
		{{Operator: "f", Name: "\xff\xfe", Value: 1}},
		{{Operator: "f", Name: "a \"quoted\"\nname", Value: 1}},
		{{Operator: "f", Name: "", Gauge: true}},
	} {
		found := false
		for _, l := range scrape(t, Snapshot{Pipelines: []Pipeline{{Namespace: "default", Name: "p", State: "running", User: user}}}) {
			found = found || strings.HasPrefix(l, "weir_pipeline_state{")
		}
		if !found {
			t.Errorf("with %v the other numbers are gone", user)
		}
	}
}

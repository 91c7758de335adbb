// Package metrics gives numbers their public names and shows them to
// Prometheus. Every name stands in this file. It must not know where the
// numbers come from.
package metrics

import "github.com/prometheus/client_golang/prometheus"

var (
	pipelineLabels = []string{"namespace", "pipeline"}
	operatorLabels = []string{"namespace", "pipeline", "operator", "task"}
	stateLabels    = []string{"namespace", "pipeline", "state"}
	userLabels     = []string{"namespace", "pipeline", "operator", "name"}
)

func desc(name, help string, labels []string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// The names. Times are in seconds, sizes in bytes, as Prometheus asks.
var (
	recordsIn       = desc("weir_operator_records_in_total", "Records that an operator task has taken.", operatorLabels)
	recordsOut      = desc("weir_operator_records_out_total", "Records that an operator task has emitted.", operatorLabels)
	bytesIn         = desc("weir_operator_bytes_in_total", "Bytes that a source task has read.", operatorLabels)
	bytesOut        = desc("weir_operator_bytes_out_total", "Bytes that a sink task has written.", operatorLabels)
	lateRecords     = desc("weir_operator_late_records_total", "Records that came behind the watermark.", operatorLabels)
	deadLetters     = desc("weir_operator_dead_letters_total", "Records that were refused and went to the dead letters.", operatorLabels)
	lagRecords      = desc("weir_source_lag_records", "Messages that wait in the splits of a source task.", operatorLabels)
	watermark       = desc("weir_operator_watermark_seconds", "Event time that an operator task has reached, since the epoch.", operatorLabels)
	busySeconds     = desc("weir_task_busy_seconds_total", "Time that a task has spent working.", operatorLabels)
	waitedSeconds   = desc("weir_task_backpressured_seconds_total", "Time that a task has waited for those it sends to.", operatorLabels)
	stateKeys       = desc("weir_operator_state_keys", "Keys that hold state.", operatorLabels)
	stateBytes      = desc("weir_operator_state_bytes", "Memory that keyed state takes.", operatorLabels)
	stateLeft       = desc("weir_operator_state_left_bytes", "State in files that a restore has still to load, about.", operatorLabels)
	stateDisk       = desc("weir_operator_state_disk_bytes", "Files that keyed state on disk takes.", operatorLabels)
	stateHits       = desc("weir_operator_state_hits_total", "Keys that were in memory when a batch named them, of state on disk.", operatorLabels)
	stateMisses     = desc("weir_operator_state_misses_total", "Keys that were looked for on the disk when a batch named them.", operatorLabels)
	timers          = desc("weir_operator_timers", "Timers that are set.", operatorLabels)
	guestSeconds    = desc("weir_guest_seconds_total", "Time spent in Wasm functions.", operatorLabels)
	guestCalls      = desc("weir_guest_calls_total", "Calls of Wasm functions.", operatorLabels)
	guestMemory     = desc("weir_guest_memory_bytes", "Memory of Wasm instances.", operatorLabels)
	guestTraps      = desc("weir_guest_traps_total", "Calls that ended in a trap or at a limit.", operatorLabels)
	imagesTaken     = desc("weir_guest_images_taken_total", "Warm images of opened Wasm instances that were taken.", nil)
	imagesUsed      = desc("weir_guest_images_used_total", "Wasm instances that were made from a warm image.", nil)
	imagesBytes     = desc("weir_guest_images_bytes", "Memory of the warm images that are kept.", nil)
	functionSent    = desc("weir_function_messages_total", "Messages to functions that were stored through the API of this process.", nil)
	functionCalls   = desc("weir_function_calls_total", "Calls of functions through the API of this process.", nil)
	functionAnswers = desc("weir_function_answers_total", "Calls that were answered.", nil)
	functionLate    = desc("weir_function_call_timeouts_total", "Calls that were not answered in time.", nil)
	functionWaiting = desc("weir_function_calls_waiting", "Calls that wait for an answer.", nil)
	jobState        = desc("weir_pipeline_state", "1 for the state that a pipeline's job is in.", stateLabels)
	restarts        = desc("weir_pipeline_restarts_total", "Attempts after the first.", pipelineLabels)
	checkpointLast  = desc("weir_checkpoint_last_id", "Id of the last committed checkpoint.", pipelineLabels)
	checkpointAge   = desc("weir_checkpoint_last_committed_seconds", "When the last checkpoint was committed, since the epoch.", pipelineLabels)
	checkpointTook  = desc("weir_checkpoint_duration_seconds", "From trigger to commit of the last checkpoint.", pipelineLabels)
	checkpointBytes = desc("weir_checkpoint_size_bytes", "Bytes that the last checkpoint added.", pipelineLabels)
	checkpointTotal = desc("weir_checkpoint_total_bytes", "Bytes that the last manifest names.", pipelineLabels)
	checkpointAlign = desc("weir_checkpoint_align_seconds", "Longest alignment of a task in the last checkpoint.", pipelineLabels)
	checkpointStop  = desc("weir_checkpoint_freeze_seconds", "Longest standstill of a task in the last checkpoint.", pipelineLabels)
	checkpointStuck = desc("weir_checkpoint_stuck", "1 while a checkpoint cannot be written.", pipelineLabels)
	userCounter     = desc("weir_user_counter_total", "Counters of Wasm functions.", userLabels)
	userGauge       = desc("weir_user_gauge", "Gauges of Wasm functions.", userLabels)
)

package metrics

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Snapshot is what a server knows at one moment.
type Snapshot struct {
	Pipelines []Pipeline
	Images    Images
	Functions *Functions // nil: nothing in this process answers for them
}

// Functions are messages to functions that came through this process.
type Functions struct {
	Sent, Calls, Answers, Timeouts uint64
	Waiting                        int
}

// Images are the warm images of this process's Wasm functions.
type Images struct {
	Taken, Used, Bytes uint64
}

// Pipeline is one pipeline's numbers.
type Pipeline struct {
	Namespace, Name string
	State           string
	Restarts        uint64
	Operators       []Operator
	Checkpoint      Checkpoint
	User            []UserMetric
}

// Operator is one operator in one task. Seconds of Busy and Waited are the
// task's and stand at its first operator only.
type Operator struct {
	ID              string
	Task            int
	First           bool
	Source          bool
	RecordsIn       uint64
	RecordsOut      uint64
	BytesIn         uint64
	BytesOut        uint64
	Late            uint64
	DeadLetters     uint64
	Lag             uint64
	WatermarkMicros int64
	HasWatermark    bool
	Busy, Waited    float64
	StateKeys       int64
	StateBytes      int64
	StateLeft       int64
	StateDisk       int64
	StateHits       int64
	StateMisses     int64
	Timers          int64
	GuestCalls      uint64
	GuestSeconds    float64
	GuestMemory     int64
	GuestTraps      uint64
}

// Checkpoint is a pipeline's last checkpoint.
type Checkpoint struct {
	ID                           uint64
	CommittedMicros              int64
	DurationSeconds              float64
	SizeBytes, TotalBytes        int64
	AlignSeconds, StopForSeconds float64
	Stuck                        bool
}

// UserMetric is a metric that a guest reports.
type UserMetric struct {
	Operator, Name string
	Gauge          bool
	Value          float64
}

// Handler serves /metrics: Weir's numbers, Go's and the process's.
func Handler(read func() Snapshot) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(&collector{read: read}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

type collector struct {
	read func() Snapshot
}

// Describe is empty on purpose: the labels are known only while collecting.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

func (c *collector) Collect(out chan<- prometheus.Metric) {
	s := c.read()
	out <- prometheus.MustNewConstMetric(imagesTaken, prometheus.CounterValue, float64(s.Images.Taken))
	out <- prometheus.MustNewConstMetric(imagesUsed, prometheus.CounterValue, float64(s.Images.Used))
	out <- prometheus.MustNewConstMetric(imagesBytes, prometheus.GaugeValue, float64(s.Images.Bytes))
	if f := s.Functions; f != nil {
		out <- prometheus.MustNewConstMetric(functionSent, prometheus.CounterValue, float64(f.Sent))
		out <- prometheus.MustNewConstMetric(functionCalls, prometheus.CounterValue, float64(f.Calls))
		out <- prometheus.MustNewConstMetric(functionAnswers, prometheus.CounterValue, float64(f.Answers))
		out <- prometheus.MustNewConstMetric(functionLate, prometheus.CounterValue, float64(f.Timeouts))
		out <- prometheus.MustNewConstMetric(functionWaiting, prometheus.GaugeValue, float64(f.Waiting))
	}
	for _, p := range s.Pipelines {
		c.pipeline(out, &p)
	}
}

func (c *collector) pipeline(out chan<- prometheus.Metric, p *Pipeline) {
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(jobState, 1, p.Namespace, p.Name, p.State)
	counter(restarts, float64(p.Restarts), p.Namespace, p.Name)
	if cp := &p.Checkpoint; cp.ID > 0 {
		gauge(checkpointLast, float64(cp.ID), p.Namespace, p.Name)
		gauge(checkpointAge, float64(cp.CommittedMicros)/1e6, p.Namespace, p.Name)
		gauge(checkpointTook, cp.DurationSeconds, p.Namespace, p.Name)
		gauge(checkpointBytes, float64(cp.SizeBytes), p.Namespace, p.Name)
		gauge(checkpointTotal, float64(cp.TotalBytes), p.Namespace, p.Name)
		gauge(checkpointAlign, cp.AlignSeconds, p.Namespace, p.Name)
		gauge(checkpointStop, cp.StopForSeconds, p.Namespace, p.Name)
	}
	stuck := 0.0
	if p.Checkpoint.Stuck {
		stuck = 1
	}
	gauge(checkpointStuck, stuck, p.Namespace, p.Name)
	for i := range p.Operators {
		o := &p.Operators[i]
		labels := []string{p.Namespace, p.Name, o.ID, strconv.Itoa(o.Task)}
		counter(recordsIn, float64(o.RecordsIn), labels...)
		counter(recordsOut, float64(o.RecordsOut), labels...)
		counter(bytesIn, float64(o.BytesIn), labels...)
		counter(bytesOut, float64(o.BytesOut), labels...)
		counter(lateRecords, float64(o.Late), labels...)
		counter(deadLetters, float64(o.DeadLetters), labels...)
		if o.Source {
			gauge(lagRecords, float64(o.Lag), labels...)
		}
		if o.HasWatermark {
			gauge(watermark, float64(o.WatermarkMicros)/1e6, labels...)
		}
		if o.First {
			counter(busySeconds, o.Busy, labels...)
			counter(waitedSeconds, o.Waited, labels...)
		}
		gauge(stateKeys, float64(o.StateKeys), labels...)
		gauge(stateBytes, float64(o.StateBytes), labels...)
		gauge(stateLeft, float64(o.StateLeft), labels...)
		if o.StateHits+o.StateMisses+o.StateDisk > 0 {
			gauge(stateDisk, float64(o.StateDisk), labels...)
			counter(stateHits, float64(o.StateHits), labels...)
			counter(stateMisses, float64(o.StateMisses), labels...)
		}
		gauge(timers, float64(o.Timers), labels...)
		if o.GuestCalls > 0 {
			counter(guestCalls, float64(o.GuestCalls), labels...)
			counter(guestSeconds, o.GuestSeconds, labels...)
			counter(guestTraps, float64(o.GuestTraps), labels...)
			gauge(guestMemory, float64(o.GuestMemory), labels...)
		}
	}
	for _, u := range p.User {
		name := strings.ToValidUTF8(u.Name, "\uFFFD") // the guest's, so anything; a label must be text
		if u.Gauge {
			gauge(userGauge, u.Value, p.Namespace, p.Name, u.Operator, name)
		} else {
			counter(userCounter, u.Value, p.Namespace, p.Name, u.Operator, name)
		}
	}
}

package guest

import (
	"math"

	"github.com/weirstream/weir/sdk/go/internal/abi"
)

// Metric is one of the user's metrics. Counters add up in the guest and go to the host once a call.
type Metric struct {
	Name  string
	Gauge bool
	value float64
	moved bool
}

var metrics []*Metric

// register notes the metric at its first use.
func (m *Metric) register() {
	for _, other := range metrics {
		if other == m {
			return
		}
	}
	metrics = append(metrics, m)
}

// Add adds to a counter.
func (m *Metric) Add(v float64) {
	if !m.moved {
		m.moved = true
		m.register()
	}
	m.value += v
}

// Set sets a gauge.
func (m *Metric) Set(v float64) {
	if !m.moved {
		m.moved = true
		m.register()
	}
	m.value = v
}

func flushMetrics() {
	for _, m := range metrics {
		if !m.moved {
			continue
		}
		m.moved = false
		if m.Gauge {
			SendMetric(abi.MetricGauge, m.Name, m.value)
		} else if m.value != 0 && !math.IsNaN(m.value) {
			SendMetric(abi.MetricCounter, m.Name, m.value)
			m.value = 0
		}
	}
}

package server

import (
	"sync"

	"github.com/weirstream/weir/platform/metrics"
)

// MaxUserMetrics bounds the distinct metrics that functions may report, over all pipelines.
const MaxUserMetrics = 10000

// userMetrics holds what functions report.
type userMetrics struct {
	mu     sync.Mutex // guards values
	values map[userKey]metrics.UserMetric
}

type userKey struct{ uid, operator, name string }

func newUserMetrics() *userMetrics { return &userMetrics{values: map[userKey]metrics.UserMetric{}} }

// Metric takes a metric; counters add up, gauges replace.
func (u *userMetrics) Metric(uid, operator string, gauge bool, name string, value float64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	key := userKey{uid, operator, name}
	m, known := u.values[key]
	if !known && len(u.values) >= MaxUserMetrics {
		return
	}
	m.Operator, m.Name, m.Gauge = operator, name, gauge
	if gauge {
		m.Value = value
	} else {
		m.Value += value
	}
	u.values[key] = m
}

// of lists a pipeline's metrics.
func (u *userMetrics) of(uid string) []metrics.UserMetric {
	u.mu.Lock()
	defer u.mu.Unlock()
	var out []metrics.UserMetric
	for k, m := range u.values {
		if k.uid == uid {
			out = append(out, m)
		}
	}
	return out
}

// forget drops a pipeline's metrics.
func (u *userMetrics) forget(uid string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for k := range u.values {
		if k.uid == uid {
			delete(u.values, k)
		}
	}
}

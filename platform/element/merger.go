package element

// Merger concludes one watermark from several inputs: the least of those that
// are active. It is a pure core: watermarks in, conclusions out.
type Merger struct {
	inputs []Watermark
	out    Watermark
}

// NewMerger merges n inputs, all active and without a watermark yet.
func NewMerger(n int) *Merger {
	m := &Merger{inputs: make([]Watermark, n), out: Watermark{Time: MinTime}}
	for i := range m.inputs {
		m.inputs[i].Time = MinTime
	}
	return m
}

// Current is the last conclusion.
func (m *Merger) Current() Watermark { return m.out }

// Update takes an input's watermark and says whether the conclusion changed.
// The conclusion's time never runs back. When every input is idle or finished
// the time is the greatest that any of them reached, since nothing is left to
// wait for; it is MaxTime only once all are finished.
func (m *Merger) Update(input int, w Watermark) (Watermark, bool) {
	in := &m.inputs[input]
	in.Time = max(in.Time, w.Time)
	in.Status = w.Status
	next := m.conclude()
	next.Time = max(next.Time, m.out.Time)
	if next == m.out {
		return m.out, false
	}
	m.out = next
	return next, true
}

func (m *Merger) conclude() Watermark {
	least, most := MaxTime, MinTime
	active, idle := 0, 0
	for _, in := range m.inputs {
		switch in.Status {
		case Active:
			active++
			least = min(least, in.Time)
		case Idle:
			idle++
			most = max(most, in.Time)
		case Finished:
			// A finished input promises nothing more to come and holds nothing back.
		}
	}
	switch {
	case active > 0:
		return Watermark{Time: least, Status: Active}
	case idle > 0:
		return Watermark{Time: most, Status: Idle}
	default:
		return Watermark{Time: MaxTime, Status: Finished}
	}
}

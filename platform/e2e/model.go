package e2e

import (
	"fmt"
	"slices"
	"strings"
)

const maxMismatches = 10

// Mismatch is where output or state differs from the model.
type Mismatch struct{ Lines []string }

func (m *Mismatch) Error() string { return strings.Join(m.Lines, "\n") }

func (m *Mismatch) add(format string, args ...any) {
	if len(m.Lines) < maxMismatches {
		m.Lines = append(m.Lines, fmt.Sprintf(format, args...))
	}
}

func (m *Mismatch) orNil() error {
	if len(m.Lines) == 0 {
		return nil
	}
	return m
}

// FirstStage holds the output of chaos against the model, row by row.
type FirstStage struct {
	w       *Workload
	seq     []int32 // per key: last sequence seen
	sum     []int64
	home    []int8         // per key: partition, -1 before the first row
	plain   map[string]int // records of plain clients, by payload
	Rows    int
	Problem Mismatch
}

// NewFirstStage makes the check of a topic that holds chaos's output.
func NewFirstStage(w *Workload) *FirstStage {
	f := &FirstStage{w: w, seq: make([]int32, w.Keys), sum: make([]int64, w.Keys), home: make([]int8, w.Keys), plain: map[string]int{}}
	for i := range f.home {
		f.home[i] = -1
	}
	return f
}

// Visit takes a message; messages come in the order of the stream.
func (f *FirstStage) Visit(m Message) error {
	if m.Frame == nil {
		f.plain[string(m.Value)]++
		return nil
	}
	if got := m.Frame.Schema.String(); got != ReachedColumns {
		return fmt.Errorf("columns %s, want %s", got, ReachedColumns)
	}
	c := m.Frame.Columns
	for r := range m.Frame.Rows {
		f.row(m, c[0].BytesAt(r), c[1].IntAt(r), c[2].IntAt(r), c[3].IntAt(r))
	}
	f.Rows += m.Frame.Rows
	return nil
}

func (f *FirstStage) row(m Message, name []byte, seq, sum, bucket int64) {
	k := f.w.keyNumber(name)
	if k < 0 {
		f.Problem.add("message %d: key %q was never fed", m.Sequence, name)
		return
	}
	if f.home[k] < 0 {
		f.home[k] = int8(m.Partition)
	}
	if int(f.home[k]) != m.Partition {
		f.Problem.add("message %d: key %s is in partition %d and was in %d", m.Sequence, name, m.Partition, f.home[k])
	}
	switch want := int64(f.seq[k]) + 1; {
	case seq > want:
		f.Problem.add("message %d: key %s goes on at %d after %d: lost or reordered", m.Sequence, name, seq, want-1)
	case seq < want:
		f.Problem.add("message %d: key %s has %d again after %d: doubled or reordered", m.Sequence, name, seq, want-1)
		return
	}
	for f.seq[k] < int32(seq) {
		f.seq[k]++
		f.sum[k] += f.w.value(k, int(f.seq[k]))
	}
	if sum != f.sum[k] {
		f.Problem.add("message %d: key %s at %d has the sum %d, the model %d", m.Sequence, name, seq, sum, f.sum[k])
	}
	if want := bucketOf(string(name)); bucket != int64(want) {
		f.Problem.add("message %d: key %s has bucket %d, the model %d", m.Sequence, name, bucket, want)
	}
}

// Done tells whether as many rows came as were fed.
func (f *FirstStage) Done() bool {
	return f.Rows >= f.w.Records || len(f.Problem.Lines) >= maxMismatches
}

// Verdict says what is wrong with all that was seen. sent is what plain clients wrote.
func (f *FirstStage) Verdict(sent map[string]bool) error {
	p := f.Problem
	if f.Rows != f.w.Records {
		p.add("first stage: %d rows, want %d", f.Rows, f.w.Records)
	}
	for k, n := range f.w.counts {
		if f.seq[k] != n {
			p.add("first stage: key %s ends at %d, want %d", KeyName(k), f.seq[k], n)
		}
	}
	for payload, acked := range sent {
		if n := f.plain[payload]; n > 1 || acked && n == 0 {
			p.add("record %q of a plain client is there %d times, acknowledged: %t", payload, n, acked)
		}
	}
	for payload := range f.plain {
		if _, ok := sent[payload]; !ok {
			p.add("record %q was never written", payload)
		}
	}
	return p.orNil()
}

// SecondStage holds the output of chaos2 against the model. In which order rows
// of different keys reach a bucket is open; that each counts once is not.
type SecondStage struct {
	w       *Workload
	count   [guestBuckets]int64
	sum     [guestBuckets]int64
	home    [guestBuckets]int
	steps   [guestBuckets][]int64 // by how much each row raised its bucket's sum
	Rows    int
	Problem Mismatch
}

// NewSecondStage makes the check of a topic that holds chaos2's output.
func NewSecondStage(w *Workload) *SecondStage { return &SecondStage{w: w} }

// Visit takes a message; messages come in the order of the stream.
func (s *SecondStage) Visit(m Message) error {
	if m.Frame == nil {
		return fmt.Errorf("a record of a plain client: %q", m.Value)
	}
	if got := m.Frame.Schema.String(); got != BucketColumns {
		return fmt.Errorf("columns %s, want %s", got, BucketColumns)
	}
	c := m.Frame.Columns
	for r := range m.Frame.Rows {
		bucket, count, sum := c[0].IntAt(r), c[1].IntAt(r), c[2].IntAt(r)
		if bucket < 0 || bucket >= guestBuckets {
			s.Problem.add("message %d: bucket %d", m.Sequence, bucket)
			continue
		}
		if s.count[bucket] == 0 {
			s.home[bucket] = m.Partition
		}
		if s.home[bucket] != m.Partition {
			s.Problem.add("message %d: bucket %d is in partition %d and was in %d", m.Sequence, bucket, m.Partition, s.home[bucket])
		}
		if count != s.count[bucket]+1 {
			s.Problem.add("message %d: bucket %d counts %d after %d", m.Sequence, bucket, count, s.count[bucket])
		}
		s.steps[bucket] = append(s.steps[bucket], sum-s.sum[bucket])
		s.count[bucket], s.sum[bucket] = count, sum
	}
	s.Rows += m.Frame.Rows
	return nil
}

// Done tells whether as many rows came as were fed.
func (s *SecondStage) Done() bool {
	return s.Rows >= s.w.Records || len(s.Problem.Lines) >= maxMismatches
}

// Verdict compares what raised each bucket's sum with the model's sums, as sets.
func (s *SecondStage) Verdict() error {
	p := s.Problem
	if s.Rows != s.w.Records {
		p.add("second stage: %d rows, want %d", s.Rows, s.w.Records)
	}
	var want [guestBuckets][]int64
	for k, n := range s.w.counts {
		b, sum := bucketOf(KeyName(k)), int64(0)
		for q := 1; q <= int(n); q++ {
			sum += s.w.value(k, q)
			want[b] = append(want[b], sum)
		}
	}
	for b := range want {
		slices.Sort(want[b])
		slices.Sort(s.steps[b])
		if !slices.Equal(want[b], s.steps[b]) {
			p.add("second stage: bucket %d was raised by other sums than the first stage's", b)
		}
	}
	return p.orNil()
}

package e2e

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
)

// reachedRow is a row of the first stage as a message would hold it.
type reachedRow struct {
	key    string
	seq    int64
	sum    int64
	bucket int32
}

// right is what the first stage should give, one message a row.
func right(w *Workload) []reachedRow {
	var out []reachedRow
	sums := make([]int64, w.Keys)
	for _, steps := range w.partitions {
		for _, s := range steps {
			sums[s.key] += w.value(int(s.key), int(s.seq))
			name := KeyName(int(s.key))
			out = append(out, reachedRow{name, int64(s.seq), sums[s.key], int32(bucketOf(name))})
		}
	}
	return out
}

func firstVerdict(t *testing.T, w *Workload, rows []reachedRow, partition int, plain []string, sent map[string]bool) error {
	t.Helper()
	f := NewFirstStage(w)
	for i, r := range rows {
		b := frame.NewBuilder(schema.MustParse(ReachedColumns))
		b.Column(0).AppendString(r.key)
		b.Column(1).AppendInt64(r.seq)
		b.Column(2).AppendInt64(r.sum)
		b.Column(3).AppendInt32(r.bucket)
		m := Message{Sequence: uint64(i + 1), Frame: &frame.Stored{Schema: schema.MustParse(ReachedColumns), Rows: 1, Columns: b.Columns()}}
		if i == len(rows)-1 {
			m.Partition = partition
		}
		if err := f.Visit(m); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range plain {
		if err := f.Visit(Message{Value: []byte(p)}); err != nil {
			t.Fatal(err)
		}
	}
	return f.Verdict(sent)
}

func TestTheVerdictFindsWhatIsLostDoubledReorderedOrWrong(t *testing.T) {
	w := NewWorkload(1, 300, 5, 2)
	rows := right(w)
	sent := map[string]bool{"a": true, "b": false}
	last := len(rows) - 1
	for _, c := range []struct {
		name   string
		change func([]reachedRow) []reachedRow
		moved  int // partition of the last row
		plain  []string
		want   string
	}{
		{name: "all as it should be", plain: []string{"a"}},
		{name: "an unacknowledged plain record that was stored", plain: []string{"a", "b"}},
		{name: "a lost row", plain: []string{"a"}, want: "lost or reordered", change: func(r []reachedRow) []reachedRow { return slices.Delete(r, 10, 11) }},
		{name: "the last row lost", plain: []string{"a"}, want: "299 rows", change: func(r []reachedRow) []reachedRow { return r[:last] }},
		{name: "a doubled row", plain: []string{"a"}, want: "doubled", change: func(r []reachedRow) []reachedRow { return slices.Insert(r, 20, r[19]) }},
		{name: "two rows of a key swapped", plain: []string{"a"}, want: "reordered", change: func(r []reachedRow) []reachedRow {
			first := slices.IndexFunc(r, func(x reachedRow) bool { return x.seq == 1 })
			second := slices.IndexFunc(r, func(x reachedRow) bool { return x.key == r[first].key && x.seq == 2 })
			r[first], r[second] = r[second], r[first]
			return r
		}},
		{name: "a wrong sum", plain: []string{"a"}, want: "the model", change: func(r []reachedRow) []reachedRow { r[5].sum++; return r }},
		{name: "a key in two partitions", plain: []string{"a"}, moved: 1, want: "is in partition 1 and was in 0"},
		{name: "a key that was never fed", plain: []string{"a"}, want: "never fed", change: func(r []reachedRow) []reachedRow { r[3].key = "k00077"; return r }},
		{name: "an acknowledged plain record that is gone", want: `"a" of a plain client is there 0 times`},
		{name: "a plain record twice", plain: []string{"a", "b", "b"}, want: `"b" of a plain client is there 2 times`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := slices.Clone(rows)
			if c.change != nil {
				r = c.change(r)
			}
			err := firstVerdict(t, w, r, c.moved, c.plain, sent)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("verdict %v, want %q", err, c.want)
			}
		})
	}
}

func TestTheVerdictOfTheSecondStageIsThatEachRowCountsOnce(t *testing.T) {
	w := NewWorkload(2, 300, 5, 2)
	verdict := func(change func(sums []int64) []int64) error {
		s := NewSecondStage(w)
		perBucket := map[int][]int64{}
		for _, r := range right(w) {
			perBucket[int(r.bucket)] = append(perBucket[int(r.bucket)], r.sum)
		}
		for b, sums := range perBucket {
			var count, sum int64
			for _, x := range change(sums) {
				count++
				sum += x
				row := frame.NewBuilder(schema.MustParse(BucketColumns))
				row.Column(0).AppendInt32(int32(b))
				row.Column(1).AppendInt64(count)
				row.Column(2).AppendInt64(sum)
				if err := s.Visit(Message{Frame: &frame.Stored{Schema: schema.MustParse(BucketColumns), Rows: 1, Columns: row.Columns()}}); err != nil {
					t.Fatal(err)
				}
			}
		}
		return s.Verdict()
	}
	same := func(s []int64) []int64 { return s }
	reversed := func(s []int64) []int64 { slices.Reverse(s); return s }
	if err := errors.Join(verdict(same), verdict(reversed)); err != nil {
		t.Errorf("right output, in any order: %v", err)
	}
	if verdict(func(s []int64) []int64 { return s[1:] }) == nil {
		t.Error("a lost row was not seen")
	}
	// One row twice in place of another: count and order are as they should be.
	if verdict(func(s []int64) []int64 { s[1] = s[0]; return s }) == nil {
		t.Error("a row that stands for another was not seen")
	}
}

func TestDeathsFollowFromTheSeedAndHalfAreAimed(t *testing.T) {
	a := Deaths(9, 32)
	if !slices.Equal(a, Deaths(9, 32)) {
		t.Error("the same seed gave other deaths")
	}
	places := map[string]int{}
	for _, d := range a {
		places[d.Place]++
	}
	if places[""] != 16 || len(places) != 1+len(aims) {
		t.Errorf("%d at random among 32, %d places of %d", places[""], len(places)-1, len(aims))
	}
}

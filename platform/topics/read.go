package topics

import (
	"context"
	"fmt"
	"slices"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// Bounds of what Read gives in one go.
const (
	readRecords = 1000
	readBytes   = 1 << 20
)

// Read gives a topic's records, in order per partition, in portions.
func (s *Service) Read(ctx context.Context, r *weirv1.ReadRequest, send func(*weirv1.ReadResponse) error) error {
	t, err := s.find("read", r.GetNamespace(), r.GetTopic())
	if err != nil {
		return err
	}
	span := Range{UntilEnd: r.GetUntilEnd()}
	switch from := r.GetFrom().(type) {
	case *weirv1.ReadRequest_Sequence:
		span.From = from.Sequence
	case *weirv1.ReadRequest_End:
		span.Latest = from.End
	}
	for _, p := range r.GetPartitions() {
		if int(p) >= t.Partitions {
			return refuse(catalog.ErrInvalid, "read topic %s: partition %d: it has 0 to %d", t.Name, p, t.Partitions-1)
		}
		if !slices.Contains(span.Partitions, int(p)) {
			span.Partitions = append(span.Partitions, int(p))
		}
	}
	topic := Convert(t)
	decoder := decoding{topic: topic}
	portion, size, left := &weirv1.ReadResponse{}, 0, r.GetLimit()
	flush := func() error {
		if len(portion.Records) == 0 {
			return nil
		}
		full := portion
		portion, size = &weirv1.ReadResponse{}, 0
		return send(full)
	}
	err = s.Scan(ctx, topic, span, func(m Message) error {
		stop := false
		err := decoder.records(m, func(rec *weirv1.Record) error {
			portion.Records = append(portion.Records, rec)
			size += len(rec.Key) + len(rec.Value) + len(rec.GetJson())
			if left > 0 {
				if left--; left == 0 {
					stop = true
					return errStop
				}
			}
			if len(portion.Records) >= readRecords || size >= readBytes {
				return flush()
			}
			return nil
		})
		if err != nil && !stop {
			return err
		}
		if stop {
			return errStop
		}
		if m.Pending == 0 { // whoever follows a quiet topic wants what there is
			return flush()
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read topic %s: %w", t.Name, err)
	}
	return flush()
}

package statereader

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/weirstream/weir/abi/key"
	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/functions"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// errEnough ends a scan at its limit.
var errEnough = errors.New("enough entries")

// page is what goes out in one message.
type page struct {
	origin  *weirv1.StateOrigin // of the first
	entries []*weirv1.StateEntry
	more    bool
}

// Get gives all that an operator holds for a key.
func (s *Service) Get(ctx context.Context, r *weirv1.GetStateRequest, send func(*weirv1.GetStateResponse) error) error {
	t := &target{namespaceOf(r.GetNamespace()), r.GetPipeline(), r.GetOperator(), r.GetState(), r.GetCheckpoint(), r.GetSavepoint()}
	scan, err := s.scan(ctx, t)
	if err != nil {
		return err
	}
	wanted, err := parseKey(scan.shapes.key, r.GetKey())
	if err != nil {
		return err
	}
	scan.key, scan.limit = wanted, MaxEntries
	hash := key.Hash(wanted)
	if scan.shapes.address {
		if hash, err = functions.HashOfKey(wanted); err != nil {
			return err
		}
	}
	scan.first, scan.last = hash, hash
	seen, err := scan.run(ctx, func(p page) error {
		return send(&weirv1.GetStateResponse{Origin: p.origin, Entries: p.entries, More: p.more})
	})
	if err == nil && seen == 0 {
		of := fmt.Sprintf("checkpoint %d", scan.origin.GetCheckpoint())
		if t.savepoint != "" {
			of = "savepoint " + t.savepoint
		}
		return hint(fmt.Errorf("key %s has no state in operator %s of %s: %w", shorten(r.GetKey()), t.operator, of, catalog.ErrNotFound), "what came after that is not in it; weir state dump %s %s shows what is", t.pipeline, t.operator)
	}
	return err
}

// Dump gives what an operator holds, in order of key hashes.
func (s *Service) Dump(ctx context.Context, r *weirv1.DumpStateRequest, send func(*weirv1.DumpStateResponse) error) error {
	t := &target{namespaceOf(r.GetNamespace()), r.GetPipeline(), r.GetOperator(), r.GetState(), r.GetCheckpoint(), r.GetSavepoint()}
	if r.GetLimit() > MaxEntries {
		return hint(fmt.Errorf("dump state of operator %s: a limit of %d, one call gives at most %d: %w", t.operator, r.GetLimit(), MaxEntries, catalog.ErrInvalid), "choose 1 to %d; a savepoint's export has everything", MaxEntries)
	}
	scan, err := s.scan(ctx, t)
	if err != nil {
		return err
	}
	scan.first, scan.last = snapshot.AllGroups().Hashes()
	if scan.limit = r.GetLimit(); scan.limit == 0 {
		scan.limit = MaxEntries
	}
	seen, err := scan.run(ctx, func(p page) error {
		return send(&weirv1.DumpStateResponse{Origin: p.origin, Entries: p.entries, More: p.more})
	})
	if err == nil && seen == 0 {
		return send(&weirv1.DumpStateResponse{Origin: scan.origin}) // what was read is empty, and known
	}
	return err
}

// scan goes through an operator's entries in a range of hashes.
type scan struct {
	*source
	service     *Service
	shapes      *shapes
	state       string // empty: all
	key         []byte // nil: all
	first, last uint64
	limit       uint64
}

func (s *Service) scan(ctx context.Context, t *target) (*scan, error) {
	src, err := s.open(ctx, t)
	if err != nil {
		return nil, err
	}
	sh, err := s.shapesOf(ctx, src.graph, t)
	if err != nil {
		return nil, err
	}
	src.origin.Key = sh.key.String()
	return &scan{source: src, service: s, shapes: sh, state: t.state}, nil
}

// run gives pages of what matches, and tells how many entries that were.
func (s *scan) run(ctx context.Context, give func(page) error) (seen uint64, err error) {
	shift := 64 - snapshot.GroupBits
	groups := snapshot.Groups{First: uint16(s.first >> shift), Last: uint16(s.last >> shift)}
	reader, err := snapshot.OpenReader(ctx, s.service.options.Blobs, s.manifest, s.origin.GetOperator(), groups)
	if err != nil {
		return 0, s.service.gone(s.uid, s.origin.GetCheckpoint(), err)
	}
	next, size := page{origin: s.origin}, 0
	flush := func() error {
		if len(next.entries) == 0 {
			return nil
		}
		p := next
		next, size = page{}, 0
		return give(p)
	}
	err = reader.Range(ctx, s.first, s.last, func(e state.Entry) error {
		if s.state != "" && e.State != s.state || s.key != nil && !bytes.Equal(e.Key, s.key) {
			return ctx.Err()
		}
		if seen == s.limit {
			next.more = true
			return errEnough
		}
		seen++
		shown := s.shapes.show(&e)
		shown.Bytes = bytes.Clone(shown.Bytes) // the entry's own hold until the next
		next.entries = append(next.entries, shown)
		if size += proto.Size(shown); size < pageBytes && len(next.entries) < pageEntries || seen == s.limit {
			return nil // the last page is kept back until it is known whether more follow
		}
		return flush()
	})
	if err != nil && !errors.Is(err, errEnough) {
		return seen, s.service.gone(s.uid, s.origin.GetCheckpoint(), err)
	}
	return seen, flush()
}

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/weirstream/weir/abi/key"
	"github.com/weirstream/weir/abi/row"
	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/blob/fileblob"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/platform/storage/state"
)

// Files is what lies in a blob folder under one pipeline.
type Files struct {
	store     *fileblob.Store
	uid       string
	names     []string
	manifests map[uint64]*snapshot.Manifest // by checkpoint
	of        map[uint64]string             // name of a checkpoint's manifest
}

// OpenFiles lists a pipeline's files and reads its manifests. The server may run.
func OpenFiles(ctx context.Context, dir, uid string) (*Files, error) {
	store, err := fileblob.Open(dir, fileblob.Options{})
	if err != nil {
		return nil, err
	}
	f := &Files{store: store, uid: uid, manifests: map[uint64]*snapshot.Manifest{}, of: map[uint64]string{}}
	for info, err := range store.List(ctx, uid+"/") {
		if err != nil {
			return nil, err
		}
		f.names = append(f.names, info.Name)
		if !strings.Contains(info.Name, "/manifest-") {
			continue
		}
		b, err := blob.ReadRange(ctx, store, info.Name, 0, -1)
		if err != nil {
			return nil, err
		}
		_, digest, err := snapshot.DecodeManifest(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", info.Name, err)
		}
		m, err := snapshot.ReadManifest(ctx, store, info.Name, digest)
		if err != nil {
			return nil, err
		}
		f.manifests[m.Meta.Checkpoint], f.of[m.Meta.Checkpoint] = m, info.Name
	}
	return f, nil
}

// Close closes the folder.
func (f *Files) Close() error { return f.store.Close() }

// Orphans are files that none of the retained checkpoints needs, and missing
// those that one needs and that are not there.
func (f *Files) Orphans(retained []uint64) (orphans, missing []string) {
	needed := map[string]bool{}
	for _, id := range retained {
		m := f.manifests[id]
		if m == nil {
			missing = append(missing, fmt.Sprintf("manifest of checkpoint %d", id))
			continue
		}
		needed[f.of[id]] = true
		for _, name := range m.Objects() {
			needed[name] = true
			if !slices.Contains(f.names, name) {
				missing = append(missing, name)
			}
		}
	}
	for _, name := range f.names {
		if !needed[name] {
			orphans = append(orphans, name)
		}
	}
	return orphans, missing
}

// entries collects an operator's keyed state by (state, key, sub).
type entries map[string][]byte

func entryName(state string, key, sub []byte) string {
	return fmt.Sprintf("%s %q %x", state, key, sub)
}

// Load takes one entry.
func (e entries) Load(s state.Entry) error {
	name := entryName(s.State, s.Key, s.Sub)
	if _, twice := e[name]; twice {
		return fmt.Errorf("state %s is there twice", name)
	}
	e[name] = bytes.Clone(s.Value)
	return nil
}

// State reads an operator's whole keyed state from a checkpoint.
func (f *Files) State(ctx context.Context, checkpoint uint64, operator string) (map[string][]byte, error) {
	m := f.manifests[checkpoint]
	if m == nil {
		return nil, fmt.Errorf("checkpoint %d has no manifest among %d files", checkpoint, len(f.names))
	}
	out := entries{}
	return out, snapshot.Restore(ctx, f.store, m, operator, snapshot.AllGroups(), out)
}

// CheckState holds the final checkpoint's state of both stages against the model.
func (w *Workload) CheckState(ctx context.Context, f *Files, checkpoint uint64) error {
	var p Mismatch
	first, second := entries{}, entries{}
	var count, sums [guestBuckets]int64
	for k, n := range w.counts {
		if n == 0 {
			continue
		}
		name := key.AppendBytes(nil, KeyName(k), key.Last)
		b, sum := bucketOf(KeyName(k)), int64(0)
		for q := 1; q <= int(n); q++ {
			sum += w.value(k, q)
			count[b]++
			sums[b] += sum
			if q > int(n)-guestKept {
				first[entryName("values", name, key.AppendInt(nil, int64(q)))] = row.AppendInt(nil, 1, w.value(k, q))
			}
		}
		first[entryName("seen", name, nil)] = row.AppendInt(row.AppendInt(nil, 1, int64(n)), 2, sum)
	}
	for b := range count {
		if count[b] > 0 {
			second[entryName("bucket", key.AppendInt(nil, int64(b)), nil)] = row.AppendInt(row.AppendInt(nil, 1, count[b]), 2, sums[b])
		}
	}
	for operator, want := range map[string]entries{"chaos": first, "chaos2": second} {
		got, err := f.State(ctx, checkpoint, operator)
		if err != nil {
			return err
		}
		p.compare(operator, got, want)
	}
	return p.orNil()
}

func (m *Mismatch) compare(operator string, got, want map[string][]byte) {
	if len(got) != len(want) {
		m.add("state of %s: %d entries, want %d", operator, len(got), len(want))
	}
	for name, value := range want {
		have, ok := got[name]
		if !ok {
			m.add("state of %s: %s is not there", operator, name)
			continue
		}
		if !sameRow(have, value) {
			m.add("state of %s: %s is %x, the model %x", operator, name, have, value)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			m.add("state of %s: %s is there and should not", operator, name)
		}
	}
}

// sameRow compares rows of integers field by field: a zero may be left out.
func sameRow(a, b []byte) bool {
	return fieldsOf(a) == fieldsOf(b)
}

func fieldsOf(b []byte) (fields [4]int64) {
	r := row.NewReader(b)
	for {
		id, _, ok := r.Next()
		if !ok || id >= len(fields) {
			break
		}
		fields[id] = r.Int()
	}
	if r.Err() != nil {
		fields[0] = -1 // of no row
	}
	return fields
}

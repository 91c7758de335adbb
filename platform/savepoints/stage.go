package savepoints

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/raftmeta/catalog"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// Staged is a savepoint whose files are here and verified, and which the catalog does not know yet.
type Staged struct {
	UID      string
	contents *contents
	manifest *snapshot.Manifest
	size     int64
}

// Stage reads an archive into the store. What it put there is not swept until
// Release, and goes with Discard.
func (s *Service) Stage(ctx context.Context, in io.Reader) (*Staged, error) {
	uid := catalog.ImportPrefix + nonce()
	s.note(uid, true)
	staged, err := s.stage(ctx, uid, in)
	if err != nil {
		s.discard(uid)
		s.note(uid, false)
		return nil, err
	}
	return staged, nil
}

func (s *Service) stage(ctx context.Context, uid string, in io.Reader) (*Staged, error) {
	blobs := s.options.Blobs
	c, size, err := readArchive(in, func(name string, r io.Reader) error {
		_, err := blobs.Put(ctx, uid+"/"+objectPrefix+name, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	m, err := c.relocate(uid)
	if err != nil {
		return nil, err
	}
	if err := snapshot.Verify(ctx, blobs, m); err != nil {
		return nil, damaged("%w", err)
	}
	return &Staged{UID: uid, contents: c, manifest: m, size: size}, nil
}

// Keep stores the graph, the file and the manifest of a staged savepoint, and gives
// the command that enters it. The caller holds Options.Naming until that is through.
func (s *Service) Keep(ctx context.Context, staged *Staged, namespace string) (*catalog.ImportSavepoint, error) {
	c := staged.Command(namespace, s.options.Clock())
	if err := s.keep(ctx, s.options.GraphName(c.Graph), staged.contents.graph); err != nil {
		return nil, err
	}
	if err := s.keep(ctx, s.options.SpecName(c.Spec), staged.contents.file); err != nil {
		return nil, err
	}
	_, err := snapshot.WriteSavepoint(ctx, s.options.Blobs, staged.manifest)
	return c, err
}

// Command is what enters a staged savepoint into the catalog, once it is kept.
func (s *Staged) Command(namespace string, now time.Time) *catalog.ImportSavepoint {
	h := &s.contents.header
	_, digest := s.manifest.Encode()
	return &catalog.ImportSavepoint{
		At: now.UnixMicro(), Namespace: namespace, Pipeline: h.Pipeline, UID: s.UID, Checkpoint: s.manifest.Meta.Checkpoint, Manifest: catalog.Digest(digest),
		Revision: h.Revision, Graph: digestOf(s.contents.graph), Spec: digestOf(s.contents.file), Label: h.Label, Cluster: h.Cluster,
	}
}

// Manifest is what the staged savepoint consists of.
func (s *Staged) Manifest() *snapshot.Manifest { return s.manifest }

// Release ends the protection of a staged savepoint's files that the catalog names by now.
func (s *Service) Release(staged *Staged) { s.note(staged.UID, false) }

// Discard takes a staged savepoint's files away that the catalog does not name.
func (s *Service) Discard(staged *Staged) {
	s.discard(staged.UID)
	s.note(staged.UID, false)
}

// relocate is the manifest of an archive whose objects were put below a uid.
func (c *contents) relocate(uid string) (*snapshot.Manifest, error) {
	return c.manifest.Relocated(uid, func(x snapshot.Extent) (snapshot.Extent, error) {
		if x.Inline != nil {
			return x, nil
		}
		if !strings.HasPrefix(x.Object, objectPrefix) || x.Held != "" || blob.CheckName(uid+"/"+x.Object) != nil {
			return x, damaged("its manifest names %.100q, which is not in it", x.Object)
		}
		x.Object = uid + "/" + x.Object
		return x, nil
	})
}

// check holds the parts of an archive against each other.
func (c *contents) check() error {
	graph, err := jobgraph.Decode(c.graph)
	if err == nil {
		err = graph.Validate()
	}
	if err != nil {
		return damaged("%s: %w", graphEntry, err)
	}
	if m := &c.manifest.Meta; m.Checkpoint != c.header.Checkpoint || m.Checkpoint == 0 {
		return damaged("its manifest is of checkpoint %d, its header says %d", m.Checkpoint, c.header.Checkpoint)
	}
	for i := range c.manifest.Operators {
		id := c.manifest.Operators[i].Operator
		if _, _, ok := graph.Operator(id); !ok {
			return damaged("it holds state of operator %.100q, which its graph does not have", id)
		}
		if len(c.manifest.Items(id, snapshot.KindTransaction)) > 0 {
			return damaged("it holds output of operator %.100q that is not published", id)
		}
	}
	return nil
}

package savepoints

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/topics"
	"github.com/weirstream/weir/raftmeta"
	"github.com/weirstream/weir/raftmeta/catalog"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// PieceBytes is the size of the pieces in which an archive travels.
const PieceBytes = 1 << 20

func digestOf(b []byte) catalog.Digest { return jobgraph.DigestOf(b) }

// Export sends a savepoint whole.
func (s *Service) Export(ctx context.Context, r *weirv1.ExportSavepointRequest, send func(*weirv1.ExportSavepointResponse) error) error {
	sp, err := s.find("export", r.GetNamespace(), r.GetId())
	if err != nil {
		return err
	}
	out := &pieces{send: func(b []byte) error { return send(&weirv1.ExportSavepointResponse{Data: b}) }}
	if err := s.Write(ctx, sp, out); err != nil {
		return fmt.Errorf("export savepoint %s: %w", sp.ID, err)
	}
	return out.flush()
}

// Write writes a savepoint's archive.
func (s *Service) Write(ctx context.Context, sp *catalog.Savepoint, out io.Writer) error {
	m, err := s.manifest(ctx, sp)
	if err != nil {
		return err
	}
	c := &contents{manifest: m}
	if c.graph, err = s.object(ctx, "its graph", s.options.GraphName(sp.Graph), sp.Graph); err != nil {
		return err
	}
	if c.file, err = s.object(ctx, "its file", s.options.SpecName(sp.Spec), sp.Spec); err != nil {
		return err
	}
	cluster := sp.Cluster
	if cluster == "" {
		cluster = s.options.Node.View().Settings.ClusterID
	}
	c.header = header{
		Format: format, Version: ArchiveVersion, Weir: s.options.Version, Cluster: cluster,
		Namespace: sp.Namespace, Pipeline: sp.Pipeline, UID: sp.UID, Revision: sp.Revision, Checkpoint: sp.Checkpoint,
		Label: sp.Label, Created: time.UnixMicro(sp.Created).UTC(),
	}
	return writeArchive(ctx, out, s.options.Blobs, c)
}

// pieces cuts what is written into messages.
type pieces struct {
	send func([]byte) error
	buf  []byte
}

func (p *pieces) Write(b []byte) (int, error) {
	p.buf = append(p.buf, b...)
	for len(p.buf) >= PieceBytes {
		if err := p.send(p.buf[:PieceBytes]); err != nil {
			return 0, err
		}
		p.buf = append(p.buf[:0], p.buf[PieceBytes:]...)
	}
	return len(b), nil
}

func (p *pieces) flush() error {
	if len(p.buf) == 0 {
		return nil
	}
	return p.send(p.buf)
}

// Importing tells whether the files below a uid are being brought here.
func (s *Service) Importing(uid string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.importing[uid]
}

func (s *Service) note(uid string, importing bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if importing {
		s.importing[uid] = true
	} else {
		delete(s.importing, uid)
	}
}

// Import takes an archive, message by message, verifies every byte, and enters the savepoint.
func (s *Service) Import(ctx context.Context, receive func() (*weirv1.ImportSavepointRequest, error)) (*weirv1.ImportSavepointResponse, error) {
	if !s.options.Node.Leads() {
		// The leader sweeps what has no name in the catalog, and knows of its own imports alone.
		id, address := s.options.Node.Leader()
		return nil, &raftmeta.NotLeaderError{Leader: id, Address: address}
	}
	first, err := receive()
	if errors.Is(err, io.EOF) {
		return nil, damaged("it is empty")
	}
	if err != nil {
		return nil, err
	}
	uid := catalog.ImportPrefix + nonce()
	s.note(uid, true)
	defer s.note(uid, false)
	sp, size, err := s.take(ctx, uid, first, &stream{receive: receive, rest: first.GetData()})
	if err != nil {
		if !errors.Is(err, raftmeta.ErrUnknownOutcome) { // else the catalog may name the files, and the sweeper finds out
			s.discard(uid)
		}
		return nil, fmt.Errorf("import savepoint: %w", err)
	}
	view := s.options.Node.View()
	return &weirv1.ImportSavepointResponse{Savepoint: s.message(view, sp), Bytes: uint64(size)}, nil
}

// take reads the archive into the store and then enters it into the catalog.
func (s *Service) take(ctx context.Context, uid string, first *weirv1.ImportSavepointRequest, in io.Reader) (*catalog.Savepoint, int64, error) {
	staged, err := s.stage(ctx, uid, in)
	if err != nil {
		return nil, 0, err
	}
	s.options.Naming.Lock()
	defer s.options.Naming.Unlock()
	c, err := s.Keep(ctx, staged, topics.Namespace(first.GetNamespace()))
	if err != nil {
		return nil, 0, err
	}
	if label := first.GetLabel(); label != "" {
		c.Label = label
	}
	result, err := s.options.Node.Propose(ctx, c)
	if err != nil {
		return nil, 0, err
	}
	sp, ok := s.options.Node.View().Savepoint(fmt.Sprintf("s%d", result.Number))
	if !ok {
		return nil, 0, fmt.Errorf("it was deleted again meanwhile: %w", catalog.ErrConflict)
	}
	return sp, staged.size, nil
}

// keep stores an object that is named by its content.
func (s *Service) keep(ctx context.Context, name string, b []byte) error {
	if _, err := blob.PutBytes(ctx, s.options.Blobs, name, b); err != nil && !errors.Is(err, blob.ErrExists) {
		return err
	}
	return nil
}

// discardLimit bounds the tidying up after an import that failed; the sweeper takes what is left.
const discardLimit = 10 * time.Second

func (s *Service) discard(uid string) {
	ctx, cancel := context.WithTimeout(context.Background(), discardLimit) // the call's own may be over
	defer cancel()
	for info, err := range s.options.Blobs.List(ctx, uid+"/") {
		if err != nil {
			return
		}
		if s.options.Blobs.Delete(ctx, info.Name) != nil {
			return
		}
	}
}

// stream reads messages as bytes.
type stream struct {
	receive func() (*weirv1.ImportSavepointRequest, error)
	rest    []byte
}

func (s *stream) Read(b []byte) (int, error) {
	for len(s.rest) == 0 {
		m, err := s.receive()
		if err != nil {
			return 0, err
		}
		s.rest = m.GetData()
	}
	n := copy(b, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func nonce() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return hex.EncodeToString(b[:])
}

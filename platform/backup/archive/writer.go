package archive

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/weirstream/weir/raftmeta/catalog"
)

// Writer writes an archive: Begin, then each object and each savepoint in their order, then Close.
type Writer struct {
	tar    *tar.Writer
	zstd   *zstd.Encoder
	at     time.Time
	sums   map[string]string
	needed map[object]catalog.Digest
	total  int64
	saved  int // savepoints that are written whole
	of     int
}

// NewWriter makes a writer. Nothing of it needs to be released.
func NewWriter(out io.Writer) (*Writer, error) {
	// With a concurrency of one it works in the caller's goroutine alone.
	z, err := zstd.NewWriter(out, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return nil, err
	}
	return &Writer{tar: tar.NewWriter(z), zstd: z, sums: map[string]string{}}, nil
}

// Begin writes the header and the catalog. Format and version are set here.
func (w *Writer) Begin(h Header, c *Catalog) error {
	h.Format, h.Version = format, Version
	w.at, w.needed, w.of = h.Created, c.needs(), len(c.Savepoints)
	head, err := json.MarshalIndent(&h, "", "  ")
	if err != nil {
		return err
	}
	body, err := json.MarshalIndent(c, "", " ")
	if err != nil {
		return err
	}
	if len(body) > MaxCatalogBytes || len(c.Savepoints) > MaxSavepoints {
		return fmt.Errorf("write backup: a catalog of %d bytes with %d savepoints, the limits are %d and %d; back up one namespace at a time: %w",
			len(body), len(c.Savepoints), MaxCatalogBytes, MaxSavepoints, catalog.ErrTooLarge)
	}
	if err := w.entry(headerEntry, head); err != nil {
		return err
	}
	return w.entry(catalogEntry, body)
}

// Objects lists the objects that are to be written, by kind and in their order.
func (w *Writer) Objects(kind Kind) []catalog.Digest {
	var out []catalog.Digest
	for o := range w.needed {
		if o.kind == kind {
			out = append(out, o.digest)
		}
	}
	slices.SortFunc(out, func(a, b catalog.Digest) int { return bytes.Compare(a[:], b[:]) })
	return out
}

// Object writes one object.
func (w *Writer) Object(kind Kind, digest catalog.Digest, b []byte) error {
	name := string(kind) + digest.String()
	switch want, ok := w.needed[object{kind, digest}]; {
	case !ok:
		return fmt.Errorf("write %s: nothing names it", name)
	case sha256.Sum256(b) != want:
		return fmt.Errorf("write %s: its digest is another; restore it from an earlier backup, or push and apply it again: %w", name, catalog.ErrDamaged)
	case int64(len(b)) > limits[kind]:
		return fmt.Errorf("write %s: it has %d bytes, the limit is %d: %w", name, len(b), limits[kind], catalog.ErrTooLarge)
	}
	return w.entry(name, b)
}

func (w *Writer) entry(name string, b []byte) error {
	if len(w.sums) >= MaxEntries {
		return fmt.Errorf("write %s: more than %d entries; back up one namespace at a time, or without savepoints: %w", name, MaxEntries, catalog.ErrTooLarge)
	}
	if err := w.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(b)), ModTime: w.at, Format: tar.FormatPAX}); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if _, err := w.tar.Write(b); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	sum := sha256.Sum256(b)
	w.sums[name] = hex.EncodeToString(sum[:])
	w.total += int64(len(b))
	return nil
}

// Savepoint writes the next savepoint, which save hands over.
func (w *Writer) Savepoint(save func(io.Writer) error) error {
	p := &pieces{w: w, savepoint: w.saved + 1}
	if err := save(p); err != nil {
		return err
	}
	if err := p.flush(); err != nil {
		return err
	}
	w.saved++
	return nil
}

// pieces cuts a savepoint into entries.
type pieces struct {
	w         *Writer
	savepoint int
	piece     int
	buf       []byte
}

func (p *pieces) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		take := min(len(b), PieceBytes-len(p.buf))
		p.buf = append(p.buf, b[:take]...)
		b = b[take:]
		if len(p.buf) == PieceBytes {
			if err := p.flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

func (p *pieces) flush() error {
	if len(p.buf) == 0 {
		return nil
	}
	p.piece++
	err := p.w.entry(pieceName(p.savepoint, p.piece), p.buf)
	p.buf = p.buf[:0]
	return err
}

// Close writes the checksums and ends the archive.
func (w *Writer) Close() error {
	for _, o := range slices.Collect(maps.Keys(w.needed)) {
		if _, ok := w.sums[string(o.kind)+o.digest.String()]; !ok {
			return fmt.Errorf("end backup: %s%s was not written", o.kind, o.digest)
		}
	}
	if w.saved != w.of {
		return fmt.Errorf("end backup: %d of %d savepoints were written", w.saved, w.of)
	}
	sums, err := json.MarshalIndent(w.sums, "", " ")
	if err != nil {
		return err
	}
	if err := w.entry(checksumsEntry, sums); err != nil {
		return err
	}
	if err := w.tar.Close(); err != nil {
		return err
	}
	return w.zstd.Close()
}

// Bytes is what was written, before it was compressed.
func (w *Writer) Bytes() int64 { return w.total }

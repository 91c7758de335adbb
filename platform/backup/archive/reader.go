package archive

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/weirstream/weir/raftmeta/catalog"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// Visit takes what an archive holds, in order. Its functions may be nil. Nothing
// that they get counts unless Read returns without an error.
type Visit struct {
	Catalog   func(*Header, *Catalog) error
	Object    func(Kind, catalog.Digest, []byte) error
	Savepoint func(*Savepoint, io.Reader) error // it need not read to the end
}

// reader reads entries in their order, checks their form and notes their checksums.
type reader struct {
	in      *source
	tar     *tar.Reader
	plain   io.Reader
	sums    map[string]string
	total   int64
	pending *tar.Header // an entry that is open and not yet read
}

// Read reads an archive whole and holds every byte against the checksums.
func Read(in io.Reader, v Visit) (*Summary, error) {
	src := &source{in: in}
	// With a concurrency of one it works in the caller's goroutine alone.
	z, err := zstd.NewReader(src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindowBytes), zstd.WithDecoderMaxMemory(maxWindowBytes))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	r := &reader{in: src, plain: z, tar: tar.NewReader(z), sums: map[string]string{}}
	s, err := r.read(v)
	if src.err != nil {
		return nil, src.err // the rest follows from that
	}
	return s, err
}

func (r *reader) read(v Visit) (*Summary, error) {
	out := &Summary{}
	b, err := r.named(headerEntry, maxHeaderBytes)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &out.Header); err != nil {
		return nil, damaged("%s: %w", headerEntry, err)
	}
	switch h := &out.Header; {
	case h.Format != format:
		return nil, damaged("its format is %.50q, not %s", h.Format, format)
	case h.Version < 1 || h.Version > Version:
		return nil, newer(h, "this build reads older ones only")
	}
	if b, err = r.named(catalogEntry, MaxCatalogBytes); err != nil {
		return nil, err
	}
	if out.Catalog, err = decodeCatalog(&out.Header, b); err != nil {
		return nil, err
	}
	if v.Catalog != nil {
		if err := v.Catalog(&out.Header, out.Catalog); err != nil {
			return nil, err
		}
	}
	if err := r.objects(out.Catalog.needs(), v); err != nil {
		return nil, err
	}
	for i := range out.Catalog.Savepoints {
		if err := r.savepoint(&out.Catalog.Savepoints[i], v); err != nil {
			return nil, err
		}
	}
	if err := r.compare(); err != nil {
		return nil, err
	}
	out.Bytes = r.total
	return out, nil
}

// next opens the next entry. io.EOF is the end of the archive.
func (r *reader) next() (*tar.Header, error) {
	if h := r.pending; h != nil {
		r.pending = nil
		return h, nil
	}
	h, err := r.tar.Next()
	switch {
	case errors.Is(err, io.EOF):
		return nil, io.EOF
	case err != nil:
		return nil, damaged("%w", err)
	case h.Typeflag != tar.TypeReg || h.Size < 0:
		return nil, damaged("%.100q is no plain file", h.Name)
	case len(r.sums) >= MaxEntries+1: // and the checksums
		return nil, damaged("it has more than %d entries", MaxEntries)
	}
	if _, twice := r.sums[h.Name]; twice {
		return nil, damaged("%.100q is in it twice", h.Name)
	}
	return h, nil
}

// named reads the next entry, which must have that name.
func (r *reader) named(want string, limit int64) ([]byte, error) {
	h, err := r.next()
	switch {
	case errors.Is(err, io.EOF):
		return nil, damaged("it ends before %s", want)
	case err != nil:
		return nil, err
	case h.Name != want:
		return nil, damaged("%.100q stands where %s belongs: it is no backup, or parts of it are gone", h.Name, want)
	}
	return r.whole(h, limit)
}

// whole reads the entry that is open.
func (r *reader) whole(h *tar.Header, limit int64) ([]byte, error) {
	if h.Size > limit {
		return nil, damaged("%.100q has %d bytes, the limit is %d", h.Name, h.Size, limit)
	}
	var b bytes.Buffer
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(&b, sum), r.tar)
	if err := r.copied(h, n, err); err != nil {
		return nil, err
	}
	r.note(h, sum)
	return b.Bytes(), nil
}

func (r *reader) copied(h *tar.Header, n int64, err error) error {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return damaged("it ends within %.100q", h.Name)
	case err != nil:
		return damaged("%.100q: %w", h.Name, err)
	case n != h.Size:
		return damaged("%.100q ends after %d of %d bytes", h.Name, n, h.Size)
	}
	return nil
}

func (r *reader) note(h *tar.Header, sum hash.Hash) {
	r.sums[h.Name] = hex.EncodeToString(sum.Sum(nil))
	r.total += h.Size
}

// objects reads what the catalog names: all of it, and nothing else.
func (r *reader) objects(needed map[object]catalog.Digest, v Visit) error {
	for len(needed) > 0 {
		h, err := r.next()
		if errors.Is(err, io.EOF) {
			return damaged("it ends, and %d objects that its catalog names are not in it", len(needed))
		}
		if err != nil {
			return err
		}
		folder, digits, _ := strings.Cut(h.Name, "/")
		kind := Kind(folder + "/")
		digest, err := jobgraph.ParseDigest(digits)
		if limits[kind] == 0 || err != nil {
			return damaged("%.100q stands where one of %d objects belongs that its catalog names", h.Name, len(needed))
		}
		want, ok := needed[object{kind, digest}]
		if !ok {
			return damaged("%s is in it, and its catalog does not name it", h.Name)
		}
		b, err := r.whole(h, limits[kind])
		if err != nil {
			return err
		}
		if sha256.Sum256(b) != want {
			return damaged("the digest of %s is %.16s…, its catalog says %.16s…", h.Name, r.sums[h.Name], want)
		}
		delete(needed, object{kind, digest})
		if v.Object != nil {
			if err := v.Object(kind, digest, b); err != nil {
				return err
			}
		}
	}
	return nil
}

// savepoint reads the pieces of one savepoint.
func (r *reader) savepoint(s *Savepoint, v Visit) error {
	p := &joined{r: r, savepoint: s.Number}
	if p.err = p.open(); errors.Is(p.err, io.EOF) {
		return damaged("%s is missing", pieceName(s.Number, 1))
	}
	if v.Savepoint != nil {
		if err := v.Savepoint(s, p); err != nil {
			if p.err != nil && !errors.Is(p.err, io.EOF) {
				return p.err // why it could not be read says more
			}
			return err
		}
	}
	_, err := io.Copy(io.Discard, p)
	return err
}

// joined reads the pieces of a savepoint as one.
type joined struct {
	r         *reader
	savepoint int
	piece     int
	at        *tar.Header
	read      int64
	sum       hash.Hash
	err       error // io.EOF behind the last piece
}

// open opens the next piece. io.EOF says that there is none.
func (p *joined) open() error {
	h, err := p.r.next()
	switch {
	case err != nil:
		return err
	case h.Name != pieceName(p.savepoint, p.piece+1):
		p.r.pending = h
		return io.EOF
	case h.Size > PieceBytes:
		return damaged("%s has %d bytes, the limit is %d", h.Name, h.Size, PieceBytes)
	}
	p.piece++
	p.at, p.read, p.sum = h, 0, sha256.New()
	return nil
}

func (p *joined) Read(b []byte) (int, error) {
	for p.err == nil {
		n, err := p.r.tar.Read(b)
		p.sum.Write(b[:n])
		p.read += int64(n)
		if errors.Is(err, io.EOF) {
			if p.err = p.r.copied(p.at, p.read, nil); p.err == nil {
				p.r.note(p.at, p.sum)
				p.err = p.open()
			}
		} else if err != nil {
			p.err = p.r.copied(p.at, p.read, err)
		}
		if n > 0 || len(b) == 0 {
			return n, nil
		}
	}
	return 0, p.err
}

// compare reads the checksums and holds all entries against them.
func (r *reader) compare() error {
	got := r.sums
	r.sums = map[string]string{}
	b, err := r.named(checksumsEntry, maxChecksumsBytes)
	if err != nil {
		return err
	}
	var want map[string]string
	if err := json.Unmarshal(b, &want); err != nil {
		return damaged("%s: %w", checksumsEntry, err)
	}
	for entry, sum := range got {
		if want[entry] != sum {
			return damaged("the checksum of %s is %.16s…, %s says %.16s…", entry, sum, checksumsEntry, want[entry])
		}
	}
	if len(want) != len(got) {
		return damaged("%s names %d entries, there are %d", checksumsEntry, len(want), len(got))
	}
	if _, err := r.next(); !errors.Is(err, io.EOF) {
		return damaged("something follows its end")
	}
	// To the end of the stream, which has a checksum of its own.
	if n, err := io.Copy(io.Discard, io.LimitReader(r.plain, 1)); n > 0 || err != nil {
		return damaged("something follows its end, or its last bytes are not whole")
	}
	return nil
}

package savepoints

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// ArchiveVersion is the version of the archive that this build writes; it reads every one up to it.
const ArchiveVersion = 1

// An archive is a tar file with these entries, in this order:
//
//	savepoint.json    the header below
//	graph.json        the job graph of the revision that wrote it
//	pipeline.yaml     its file
//	manifest          of the checkpoint; what is not inline in it stands in:
//	objects/000001 …  a run of bytes each, named by the manifest
//	checksums.json    the SHA-256 of each entry before, by name
//
// The checksums come last, so that a savepoint of any size is written and read in one go.
const (
	headerEntry    = "savepoint.json"
	graphEntry     = "graph.json"
	fileEntry      = "pipeline.yaml"
	manifestEntry  = "manifest"
	objectPrefix   = "objects/"
	checksumsEntry = "checksums.json"
)

// Limits of an archive's entries that are held in memory, and of their number.
const (
	maxHeaderBytes    = 64 << 10
	maxGraphBytes     = 64 << 20
	maxFileBytes      = 1 << 20
	maxManifestBytes  = 256 << 20
	maxChecksumsBytes = 64 << 20
	maxObjects        = 1 << 20
)

// format names the kind of archive in its header.
const format = "weir-savepoint"

// header says what an archive holds. Fields that are not known are passed over.
type header struct {
	Format     string    `json:"format"`
	Version    int       `json:"version"`
	Weir       string    `json:"weir"` // the version that wrote it
	Cluster    string    `json:"cluster"`
	Namespace  string    `json:"namespace"`
	Pipeline   string    `json:"pipeline"`
	UID        string    `json:"uid"`
	Revision   uint64    `json:"revision"`
	Checkpoint uint64    `json:"checkpoint"`
	Label      string    `json:"label,omitempty"`
	Created    time.Time `json:"created"`
}

// archiveWriter writes entries and keeps their checksums.
type archiveWriter struct {
	tar  *tar.Writer
	at   time.Time
	sums map[string]string
}

func (w *archiveWriter) entry(name string, size int64, write func(put func([]byte) error) error) error {
	if err := w.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: size, ModTime: w.at, Format: tar.FormatPAX}); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	sum := sha256.New()
	err := write(func(b []byte) error {
		sum.Write(b)
		_, err := w.tar.Write(b)
		return err
	})
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	w.sums[name] = hex.EncodeToString(sum.Sum(nil))
	return nil
}

func (w *archiveWriter) bytes(name string, b []byte) error {
	return w.entry(name, int64(len(b)), func(put func([]byte) error) error { return put(b) })
}

// contents are a savepoint as an archive holds it.
type contents struct {
	header   header
	graph    []byte
	file     []byte
	manifest *snapshot.Manifest
}

// writeArchive writes a savepoint whole: only the bytes that its manifest names, each once.
func writeArchive(ctx context.Context, out io.Writer, blobs blob.Store, c *contents) error {
	type run struct {
		name string
		from snapshot.Extent
	}
	type place struct {
		object string
		offset int64
	}
	var runs []run
	known := map[place]snapshot.Extent{}
	moved, err := c.manifest.Relocated(c.header.UID, func(x snapshot.Extent) (snapshot.Extent, error) {
		if x.Inline != nil {
			return x, nil
		}
		at := place{x.Object, x.Offset}
		to, ok := known[at]
		if !ok {
			name := fmt.Sprintf("%s%06d", objectPrefix, len(runs)+1)
			runs = append(runs, run{name, x})
			to = snapshot.Extent{Object: name, Length: x.Length}
			known[at] = to
		}
		return to, nil
	})
	if err != nil {
		return err
	}
	encoded, err := json.MarshalIndent(&c.header, "", "  ")
	if err != nil {
		return err
	}
	w := &archiveWriter{tar: tar.NewWriter(out), at: c.header.Created, sums: map[string]string{}}
	manifest, _ := moved.Encode()
	for _, e := range []struct {
		name string
		b    []byte
	}{{headerEntry, encoded}, {graphEntry, c.graph}, {fileEntry, c.file}, {manifestEntry, manifest}} {
		if err := w.bytes(e.name, e.b); err != nil {
			return err
		}
	}
	for _, r := range runs {
		err := w.entry(r.name, r.from.Length, func(put func([]byte) error) error {
			return snapshot.CopyExtent(ctx, blobs, r.from, put)
		})
		if err != nil {
			return err
		}
	}
	sums, err := json.MarshalIndent(w.sums, "", "  ")
	if err != nil {
		return err
	}
	if err := w.bytes(checksumsEntry, sums); err != nil {
		return err
	}
	return w.tar.Close()
}

// damaged is a refusal of an archive: its bytes come from anywhere.
func damaged(text string, args ...any) error {
	return fmt.Errorf("%w: %w", fmt.Errorf("read savepoint archive: "+text, args...), catalog.ErrDamaged)
}

// archiveReader reads entries in their order and checks their form.
type archiveReader struct {
	tar  *tar.Reader
	sums map[string]string
	size int64
}

// next opens the next entry. io.EOF is the end of the archive.
func (r *archiveReader) next() (name string, size int64, err error) {
	h, err := r.tar.Next()
	if errors.Is(err, io.EOF) {
		return "", 0, io.EOF
	}
	if err != nil {
		return "", 0, damaged("%w", err)
	}
	if h.Typeflag != tar.TypeReg || h.Size < 0 {
		return "", 0, damaged("%.100q is no plain file", h.Name)
	}
	return h.Name, h.Size, nil
}

// read reads an entry of that name whole.
func (r *archiveReader) read(want string, limit int64) ([]byte, error) {
	name, size, err := r.next()
	switch {
	case errors.Is(err, io.EOF):
		return nil, damaged("it ends before %s", want)
	case err != nil:
		return nil, err
	case name != want:
		return nil, damaged("%.100q stands where %s belongs: it is no export of a savepoint, or parts of it are gone", name, want)
	case size > limit:
		return nil, damaged("%s has %d bytes, the limit is %d", want, size, limit)
	}
	var b bytes.Buffer
	if err := r.copy(name, size, &b); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// copy copies the entry that is open and notes its checksum.
func (r *archiveReader) copy(name string, size int64, to io.Writer) error {
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(to, sum), r.tar)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return damaged("it ends within %s", name)
	}
	if err != nil {
		return fmt.Errorf("read %s of the archive: %w", name, err)
	}
	if n != size {
		return damaged("%s ends after %d of %d bytes", name, n, size)
	}
	r.sums[name] = hex.EncodeToString(sum.Sum(nil))
	r.size += n
	return nil
}

// readArchive reads an archive and hands its objects to put, in order. Nothing
// that it gave counts unless it returns without an error.
func readArchive(in io.Reader, put func(name string, r io.Reader) error) (c *contents, size int64, err error) {
	r := &archiveReader{tar: tar.NewReader(in), sums: map[string]string{}}
	c = &contents{}
	b, err := r.read(headerEntry, maxHeaderBytes)
	if err != nil {
		return nil, 0, err
	}
	if err := json.Unmarshal(b, &c.header); err != nil {
		return nil, 0, damaged("%s: %w", headerEntry, err)
	}
	switch h := &c.header; {
	case h.Format != format:
		return nil, 0, damaged("its format is %.50q, not %s", h.Format, format)
	case h.Version < 1 || h.Version > ArchiveVersion:
		return nil, 0, fmt.Errorf("read savepoint archive of version %d, written by weir %.50s: this build reads up to %d; upgrade this server: %w", h.Version, h.Weir, ArchiveVersion, catalog.ErrNewer)
	}
	if c.graph, err = r.read(graphEntry, maxGraphBytes); err != nil {
		return nil, 0, err
	}
	if c.file, err = r.read(fileEntry, maxFileBytes); err != nil {
		return nil, 0, err
	}
	if b, err = r.read(manifestEntry, maxManifestBytes); err != nil {
		return nil, 0, err
	}
	if c.manifest, _, err = snapshot.DecodeManifest(b); err != nil {
		return nil, 0, damaged("%w", err)
	}
	if err := r.objects(put); err != nil {
		return nil, 0, err
	}
	return c, r.size, nil
}

// objects reads what comes behind the manifest, and holds all against the checksums.
func (r *archiveReader) objects(put func(name string, in io.Reader) error) error {
	for n := 1; ; n++ {
		name, size, err := r.next()
		switch {
		case errors.Is(err, io.EOF):
			return damaged("it ends before %s", checksumsEntry)
		case err != nil:
			return err
		case name == checksumsEntry:
			return r.compare(name, size)
		case name != fmt.Sprintf("%s%06d", objectPrefix, n) || n > maxObjects:
			return damaged("%.100q stands where object %d belongs", name, n)
		}
		pr, pw := io.Pipe()
		done := make(chan error, 1)
		go func() {
			err := put(strings.TrimPrefix(name, objectPrefix), pr)
			pr.CloseWithError(err) // an early end ends the copying
			done <- err
		}()
		err = r.copy(name, size, pw)
		_ = pw.CloseWithError(err) // it never fails
		if putErr := <-done; putErr != nil && err == nil {
			err = putErr
		}
		if err != nil {
			return err
		}
	}
}

func (r *archiveReader) compare(name string, size int64) error {
	if size > maxChecksumsBytes {
		return damaged("%s has %d bytes, the limit is %d", name, size, maxChecksumsBytes)
	}
	var b bytes.Buffer
	got := r.sums
	r.sums = map[string]string{}
	if err := r.copy(name, size, &b); err != nil {
		return err
	}
	var want map[string]string
	if err := json.Unmarshal(b.Bytes(), &want); err != nil {
		return damaged("%s: %w", name, err)
	}
	for entry, sum := range got {
		if want[entry] != sum {
			return damaged("the checksum of %s is %.16s…, %s says %.16s…", entry, sum, name, want[entry])
		}
	}
	if len(want) != len(got) {
		return damaged("%s names %d entries, there are %d", name, len(want), len(got))
	}
	if _, _, err := r.next(); !errors.Is(err, io.EOF) {
		return damaged("something follows its end")
	}
	return nil
}

// Package archive is the format of a backup: it writes and reads the one file that
// holds what a cluster had agreed on, its modules, graphs, files and savepoints. It
// must not know where these come from nor where they go.
package archive

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/weirstream/weir/raftmeta/catalog"
)

// Version is the version of the archive that this build writes; it reads every one up to it.
const Version = 1

// An archive is a tar file, compressed as one zstd stream, with these entries in this order:
//
//	backup.json                 the Header
//	catalog.json                the Catalog
//	graphs/DIGEST   …           job graphs
//	specs/DIGEST    …           pipeline files
//	manifests/DIGEST …          what the module of that digest says of itself
//	modules/DIGEST  …           modules with their assets
//	savepoints/000001/00000001  the first piece of the first savepoint, as weir savepoint
//	savepoints/000001/00000002  export writes it, and the next one …
//	checksums.json              the SHA-256 of each entry before, by name
//
// The checksums come last and savepoints in pieces, so that a backup of any size is
// written and read in one go, and nobody has to know a size beforehand.
const (
	headerEntry    = "backup.json"
	catalogEntry   = "catalog.json"
	savepointEntry = "savepoints/"
	checksumsEntry = "checksums.json"
)

// Kind is a kind of objects that are named by a digest; it begins their entries' names.
type Kind string

// The kinds. All but manifests are named by their own digest.
const (
	Graphs    Kind = "graphs/"
	Specs     Kind = "specs/"
	Manifests Kind = "manifests/"
	Modules   Kind = "modules/"
)

// limits bound the objects of each kind.
var limits = map[Kind]int64{Graphs: 64 << 20, Specs: 1 << 20, Manifests: 16 << 20, Modules: 128 << 20}

// Limits of an archive.
const (
	// PieceBytes is the size of a savepoint's pieces; the last one is what is left.
	PieceBytes = 4 << 20
	// MaxEntries bounds the entries, so savepoints are at most 4 TiB together.
	MaxEntries      = 1 << 20
	MaxSavepoints   = 100_000
	MaxCatalogBytes = 512 << 20

	maxHeaderBytes    = 1 << 20
	maxChecksumsBytes = 256 << 20
	maxWindowBytes    = 64 << 20 // of the compression: what reading holds in memory
)

// format names the kind of archive in its header.
const format = "weir-backup"

// damaged is a refusal of an archive: its bytes come from anywhere.
func damaged(text string, args ...any) error {
	return fmt.Errorf("%w: %w", fmt.Errorf("read backup: "+text, args...), catalog.ErrDamaged)
}

func pieceName(savepoint, piece int) string {
	return fmt.Sprintf("%s%06d/%08d", savepointEntry, savepoint, piece)
}

// newer tells that a backup holds what this build does not know.
func newer(h *Header, what string) error {
	return fmt.Errorf("read backup of version %d, written by weir %.50s: %s; restore it with that version, or a later one: %w", h.Version, h.Weir, what, catalog.ErrNewer)
}

// decodeCatalog takes no field that it does not know: what is passed over would be lost in silence.
func decodeCatalog(h *Header, b []byte) (*Catalog, error) {
	var c Catalog
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, damaged("%s: %w", catalogEntry, err)
	}
	strict := json.NewDecoder(bytes.NewReader(b))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&Catalog{}); err != nil {
		return nil, newer(h, fmt.Sprintf("this build does not know all that is in it (%v)", err))
	}
	if len(c.Savepoints) > MaxSavepoints {
		return nil, damaged("it names %d savepoints, the limit is %d", len(c.Savepoints), MaxSavepoints)
	}
	for i := range c.Savepoints {
		if c.Savepoints[i].Number != i+1 {
			return nil, damaged("savepoint %d has the number %d", i+1, c.Savepoints[i].Number)
		}
	}
	for i := range c.Modules {
		if len(c.Modules[i].Versions) == 0 {
			return nil, damaged("module %.63q has no version", c.Modules[i].Name)
		}
	}
	for i := range c.Pipelines {
		p := &c.Pipelines[i]
		if p.Savepoint < 0 || p.Savepoint > len(c.Savepoints) {
			return nil, damaged("pipeline %.63q goes on from savepoint %d, which is not in it", p.Name, p.Savepoint)
		}
		if p.Savepoint == 0 {
			continue
		}
		if s := &c.Savepoints[p.Savepoint-1]; s.Namespace != p.Namespace {
			return nil, damaged("pipeline %.63q of namespace %.63q goes on from a savepoint of namespace %.63q", p.Name, p.Namespace, s.Namespace)
		}
	}
	return &c, nil
}

// object is an object by kind and digest.
type object struct {
	kind   Kind
	digest catalog.Digest
}

// needs lists the objects that a catalog names, and for manifests their own digests.
func (c *Catalog) needs() map[object]catalog.Digest {
	out := map[object]catalog.Digest{}
	for i := range c.Pipelines {
		r := &c.Pipelines[i].Revision
		out[object{Graphs, r.Graph}], out[object{Specs, r.Spec}] = r.Graph, r.Spec
	}
	for i := range c.Modules {
		for _, v := range c.Modules[i].Versions {
			out[object{Modules, v.Digest}], out[object{Manifests, v.Digest}] = v.Digest, v.Manifest
		}
	}
	return out
}

// source remembers why bytes do not come: that is no damage of theirs.
type source struct {
	in  io.Reader
	err error
}

func (s *source) Read(b []byte) (int, error) {
	n, err := s.in.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

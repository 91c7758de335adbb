package catalog

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"slices"
)

// ImageVersion is the version of an encoded State.
const ImageVersion = 1

// An image is:
//
//	0      7         8                  n-4      n
//	+------+---------+------------------+--------+
//	|magic | version | JSON of image    | CRC32C |
//	+------+---------+------------------+--------+
const imageMagic = "WEIRCAT"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type image struct {
	Revision   uint64       `json:"revision"`
	Settings   Settings     `json:"settings"`
	Counters   counters     `json:"counters"`
	Namespaces []*Namespace `json:"namespaces"`
	Topics     []*Topic     `json:"topics"`
	Modules    []*Module    `json:"modules"`
	Pipelines  []*Pipeline  `json:"pipelines"`
	Savepoints []*Savepoint `json:"savepoints"`
	Workers    []*Worker    `json:"workers"`
	Nodes      []*Node      `json:"nodes"`
	Tokens     []*Token     `json:"tokens,omitempty"`
	Secrets    []*Secret    `json:"secrets,omitempty"`
}

// EncodeImage encodes the whole state. Equal states have equal images.
func EncodeImage(s *State) ([]byte, error) {
	body, err := json.Marshal(&image{
		Revision: s.Revision, Settings: s.Settings, Counters: s.counters,
		Namespaces: slices.Collect(s.Namespaces()), Topics: slices.Collect(s.Topics("")), Modules: slices.Collect(s.Modules("")),
		Pipelines: slices.Collect(s.Pipelines("")), Savepoints: slices.Collect(s.Savepoints()),
		Workers: slices.Collect(s.Workers()), Nodes: slices.Collect(s.Nodes()), Tokens: slices.Collect(s.Tokens()), Secrets: slices.Collect(s.Secrets("")),
	})
	if err != nil {
		return nil, fmt.Errorf("encode image: %w", err)
	}
	b := append([]byte(imageMagic), ImageVersion)
	b = append(b, body...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)), nil
}

// DecodeImage reads what EncodeImage wrote.
func DecodeImage(b []byte) (*State, error) {
	head := len(imageMagic) + 1
	if len(b) < head+4 || string(b[:len(imageMagic)]) != imageMagic {
		return nil, refuse(ErrDamaged, "decode image of %d bytes: it is no image of a catalog", len(b))
	}
	if v := b[len(imageMagic)]; v != ImageVersion {
		return nil, refuse(ErrNewer, "decode image of version %d: this build reads version %d; upgrade this node", v, ImageVersion)
	}
	end := len(b) - 4
	if sum := crc32.Checksum(b[:end], castagnoli); sum != binary.LittleEndian.Uint32(b[end:]) {
		return nil, refuse(ErrDamaged, "decode image: its checksum is %08x, computed %08x", binary.LittleEndian.Uint32(b[end:]), sum)
	}
	var im image
	if err := unmarshal(b[head:end], &im); err != nil {
		return nil, refuse(ErrDamaged, "decode image: %w", err)
	}
	return im.state()
}

func (im *image) state() (*State, error) {
	s := &State{Revision: im.Revision, Settings: im.Settings, counters: im.Counters}
	var err error
	load(&s.namespaces, im.Namespaces, func(n *Namespace) string { return n.Name }, &err)
	load(&s.topics, im.Topics, func(t *Topic) string { return Key(t.Namespace, t.Name) }, &err)
	load(&s.modules, im.Modules, func(m *Module) string { return Key(m.Namespace, m.Name) }, &err)
	load(&s.pipelines, im.Pipelines, func(p *Pipeline) string { return p.UID }, &err)
	load(&s.savepoints, im.Savepoints, func(p *Savepoint) string { return p.ID }, &err)
	load(&s.workers, im.Workers, func(w *Worker) string { return epochKey(w.Epoch) }, &err)
	load(&s.nodes, im.Nodes, func(n *Node) string { return n.ID }, &err)
	load(&s.tokens, im.Tokens, func(t *Token) string { return t.ID }, &err)
	load(&s.secrets, im.Secrets, func(c *Secret) string { return Key(c.Namespace, c.Name) }, &err)
	if err != nil {
		return nil, err
	}
	for _, m := range im.Modules {
		if len(m.Versions) == 0 {
			return nil, refuse(ErrDamaged, "decode image: module %s has no version", m.Name)
		}
	}
	for _, p := range im.Pipelines {
		if len(p.Current.Widths) == 0 || transitions[p.Job.State] == nil {
			return nil, refuse(ErrDamaged, "decode image: pipeline %s has %d regions and its job is %q", p.UID, len(p.Current.Widths), p.Job.State)
		}
		s.names = s.names.with(Key(p.Namespace, p.Name), p.UID)
	}
	if s.names.len() != s.pipelines.len() {
		return nil, refuse(ErrDamaged, "decode image: %d names for %d pipelines", s.names.len(), s.pipelines.len())
	}
	return s, nil
}

func load[V any](t *tree[*V], list []*V, key func(*V) string, err *error) {
	for _, v := range list {
		if v == nil {
			*err = refuse(ErrDamaged, "decode image: an empty entry")
			return
		}
		*t = t.with(key(v), v)
	}
	if t.len() != len(list) {
		*err = refuse(ErrDamaged, "decode image: two entries with one key")
	}
}

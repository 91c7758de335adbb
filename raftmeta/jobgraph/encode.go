package jobgraph

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// MaxGraphBytes bounds the stored form of a graph.
const MaxGraphBytes = 16 << 20

// ErrFormat says that bytes are no stored graph of a version this build reads.
var ErrFormat = errors.New("not a job graph that this version reads")

// Digest is the SHA-256 of a stored thing; blobs are named by it.
type Digest [sha256.Size]byte

// DigestOf returns the digest of stored bytes.
func DigestOf(b []byte) Digest { return sha256.Sum256(b) }

// ParseDigest reads the 64 hexadecimal digits that String writes.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	return d, d.UnmarshalText([]byte(s))
}

// IsZero tells whether the digest names nothing.
func (d Digest) IsZero() bool { return d == Digest{} }

// String returns 64 hexadecimal digits, or nothing for the zero digest.
func (d Digest) String() string {
	if d.IsZero() {
		return ""
	}
	return hex.EncodeToString(d[:])
}

// Short returns the first 12 digits, for people.
func (d Digest) Short() string {
	if s := d.String(); s != "" {
		return s[:12]
	}
	return ""
}

// MarshalText implements encoding.TextMarshaler.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. Upper case is refused, so that a digest has one text.
func (d *Digest) UnmarshalText(text []byte) error {
	*d = Digest{}
	if len(text) == 0 {
		return nil
	}
	if len(text) != 2*sha256.Size || !bytes.Equal(bytes.ToLower(text), text) {
		return fmt.Errorf("digest %q: want %d lower-case hexadecimal digits", clip(string(text)), 2*sha256.Size)
	}
	if _, err := hex.Decode(d[:], text); err != nil {
		*d = Digest{}
		return fmt.Errorf("digest %q: %w", clip(string(text)), err)
	}
	return nil
}

// Encode returns the canonical stored form: one form per graph, so that equal
// graphs have equal digests. Objects inside a config have their keys sorted.
func Encode(g *Graph) ([]byte, error) {
	c := *g
	c.Version = FormatVersion
	c.Stages = append([]Stage{}, g.Stages...)
	c.Edges = append([]Edge{}, g.Edges...)
	for i := range c.Stages {
		s := &c.Stages[i]
		s.Operators = append([]Operator{}, s.Operators...)
		for j := range s.Operators {
			config, err := canonical(s.Operators[j].Config)
			if err != nil {
				return nil, fmt.Errorf("encode config of operator %q: %w", s.Operators[j].ID, err)
			}
			s.Operators[j].Config = config
		}
	}
	return marshal(&c)
}

// Decode reads what Encode wrote. Unknown fields are refused: they come from a
// newer version, whose meaning must not be dropped in silence. The graph still has to be validated.
func Decode(b []byte) (*Graph, error) {
	if len(b) > MaxGraphBytes {
		return nil, fmt.Errorf("decode graph of %d bytes: %w: the limit is %d bytes", len(b), ErrFormat, MaxGraphBytes)
	}
	var head struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, fmt.Errorf("decode graph: %w: %w", ErrFormat, err)
	}
	if head.Version != FormatVersion {
		return nil, fmt.Errorf("decode graph: %w: it has version %d, this build reads version %d; upgrade this process", ErrFormat, head.Version, FormatVersion)
	}
	g := new(Graph)
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(g); err != nil {
		return nil, fmt.Errorf("decode graph: %w: %w", ErrFormat, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("decode graph: %w: bytes after its end", ErrFormat)
	}
	return g, nil
}

// Digest returns the digest of the graph's canonical form.
func (g *Graph) Digest() (Digest, error) {
	b, err := Encode(g)
	if err != nil {
		return Digest{}, err
	}
	return DigestOf(b), nil
}

// canonical sorts the keys of every object and drops blanks; numbers keep their text, which loses no digit.
func canonical(raw json.RawMessage) (json.RawMessage, error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		return json.RawMessage("null"), nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("bytes after the end of the value")
	}
	return marshal(v)
}

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

package file

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/format"
)

// When a file is closed, if the configuration does not say.
const (
	DefaultRollBytes = 8 << 20
	DefaultRollAfter = 10 * time.Second
)

// SinkConfig says what a sink writes and how.
type SinkConfig struct {
	// Path is a folder, which ends in a slash or is there: files are created in
	// it, each whole. Or a file, or Stdio: both are written as output comes, by
	// one task, with at least once.
	Path      string
	Schema    *schema.Schema
	Guarantee connector.Guarantee
	Header    string // first line of each file; empty: none
	Suffix    string // of files in a folder, such as .jsonl
	// NewEncoder makes the encoder of lines.
	NewEncoder func() (format.Encoder, error)
	RollBytes  int
	RollAfter  time.Duration
	Stdout     io.Writer // nil: the process's
}

// Sink writes files.
type Sink struct {
	cfg    SinkConfig
	folder bool
}

// NewSink makes a sink, and its folder.
func NewSink(cfg SinkConfig) (*Sink, error) {
	if cfg.Guarantee == "" {
		cfg.Guarantee = connector.ExactlyOnce
	}
	if err := cfg.Guarantee.Validate(); err != nil {
		return nil, err
	}
	switch {
	case cfg.Path == "":
		return nil, fmt.Errorf("file sink: %w: no path: give a folder, a file, or - for standard output", connector.ErrPermanent)
	case cfg.Schema == nil || cfg.NewEncoder == nil:
		return nil, fmt.Errorf("file sink %s: %w: no columns or no format", cfg.Path, connector.ErrPermanent)
	}
	if cfg.RollBytes <= 0 {
		cfg.RollBytes = DefaultRollBytes
	}
	if cfg.RollAfter <= 0 {
		cfg.RollAfter = DefaultRollAfter
	}
	if cfg.Stdout == nil {
		cfg.Stdout = os.Stdout
	}
	s := &Sink{cfg: cfg}
	info, err := os.Stat(cfg.Path)
	s.folder = cfg.Path != Stdio && (strings.HasSuffix(cfg.Path, "/") || err == nil && info.IsDir())
	if cfg.Guarantee == connector.ExactlyOnce && !s.folder {
		return nil, fmt.Errorf("file sink %s: %w: %s needs a folder, in which each file appears whole: end the path in /, or write guarantee: %s",
			cfg.Path, connector.ErrPermanent, connector.ExactlyOnce, connector.AtLeastOnce)
	}
	if s.folder {
		if err := os.MkdirAll(cfg.Path, 0o777); err != nil {
			return nil, fmt.Errorf("file sink: %w", lasting(err))
		}
	}
	return s, nil
}

// Open starts a writer.
func (s *Sink) Open(_ context.Context, id connector.WriterID) (connector.Writer, error) {
	encoder, err := s.cfg.NewEncoder()
	if err != nil {
		return nil, fmt.Errorf("open writer %s: %w", id, err)
	}
	w := &writer{sink: s, id: id, encoder: encoder, opened: time.Now()}
	if s.folder {
		return w, nil
	}
	if id.Task != 0 {
		return nil, fmt.Errorf("open writer %s: %w: %s is one file, which one task writes: set parallelism 1, or give a folder", id, connector.ErrPermanent, s.cfg.Path)
	}
	w.out = s.cfg.Stdout
	if s.cfg.Path != Stdio {
		if w.file, err = os.Create(s.cfg.Path); err != nil {
			return nil, fmt.Errorf("open writer %s: %w", id, lasting(err))
		}
		w.out = w.file
	}
	w.header()
	return w, nil
}

// Close ends the sink.
func (s *Sink) Close() error { return nil }

// finalName is the file of a writer's transaction, the same whoever creates it.
func (s *Sink) finalName(w connector.WriterID, checkpoint uint64) string {
	return fmt.Sprintf("%s-%s-%d-%012d%s", token(w.Pipeline), token(w.Sink), w.Task, checkpoint, s.cfg.Suffix)
}

// token makes a name fit for a file.
func token(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '_'
	}, name)
}

func (s *Sink) path(name string) string { return filepath.Join(s.cfg.Path, name) }

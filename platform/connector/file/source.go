// Package file reads records from files and writes them to files: JSON lines,
// CSV or plain lines, compressed or not, or the standard streams. It must not
// know what a line means, nor tasks or checkpoints' coordination.
package file

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/format"
)

// Stdio as a path means standard input or output.
const Stdio = "-"

// Limits of reading.
const (
	MaxRecordBytes = 8 << 20
	maxFiles       = 10_000
	maxBatchRows   = 4096
	maxBatchBytes  = 1 << 20
)

// SourceConfig says what a source reads and how.
type SourceConfig struct {
	// Path is a file, a pattern such as logs/*.jsonl.gz, or Stdio.
	Path   string
	Schema *schema.Schema
	// Quoted lets a record go on behind a line end that stands in quotes: CSV.
	Quoted bool
	// Header: the first record of each file names its fields, apart by Comma (0: a comma).
	Header bool
	Comma  rune
	// NewDecoder makes a decoder; header is what the first record says, or nil.
	NewDecoder func(header []string) (format.Decoder, error)
	Stdin      io.Reader // nil: the process's
}

// Source reads files: each is a split, and each ends.
type Source struct{ cfg SourceConfig }

// NewSource makes a source.
func NewSource(cfg SourceConfig) (*Source, error) {
	switch {
	case cfg.Path == "":
		return nil, fmt.Errorf("file source: %w: no path: give a file, a pattern, or - for standard input", connector.ErrPermanent)
	case cfg.Schema == nil || cfg.NewDecoder == nil:
		return nil, fmt.Errorf("file source %s: %w: no columns or no format: declare both", cfg.Path, connector.ErrPermanent)
	}
	if cfg.Stdin == nil {
		cfg.Stdin = os.Stdin
	}
	return &Source{cfg}, nil
}

// Splits lists the files by name.
func (s *Source) Splits(context.Context) ([]connector.Split, error) {
	if s.cfg.Path == Stdio {
		return []connector.Split{{ID: Stdio}}, nil
	}
	names, err := filepath.Glob(s.cfg.Path)
	if err != nil {
		return nil, fmt.Errorf("file source %s: %w: %w", s.cfg.Path, connector.ErrPermanent, err)
	}
	if len(names) == 0 {
		// A name with a bracket in it is no pattern, if it is there.
		if _, err := os.Stat(s.cfg.Path); err != nil {
			return nil, fmt.Errorf("file source: nothing matches %s: %w", s.cfg.Path, lasting(err))
		}
		names = []string{s.cfg.Path}
	}
	if len(names) > maxFiles {
		return nil, fmt.Errorf("file source: %w: %d files match %s, the limit is %d: read them in several runs", connector.ErrPermanent, len(names), s.cfg.Path, maxFiles)
	}
	slices.Sort(names)
	splits := make([]connector.Split, len(names))
	for i, n := range names {
		splits[i].ID = n
	}
	return splits, nil
}

// Open starts to read a file behind a position.
func (s *Source) Open(_ context.Context, split connector.Split, after connector.Position) (connector.Reader, error) {
	r, err := s.open(split.ID, after)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", split.ID, lasting(err))
	}
	return r, nil
}

// Close ends the source.
func (s *Source) Close() error { return nil }

// lasting marks what does not pass by itself: a file that is not there, that may
// not be touched, or that is not what it should be.
func lasting(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, gzip.ErrHeader) || errors.Is(err, errTooLong) {
		return fmt.Errorf("%w: %w", connector.ErrPermanent, err)
	}
	return err
}

package cli

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"maps"
	"os"
	"slices"
	"sync/atomic"
)

// open reads a file or, for -, standard input. Compressed input is known by
// its first two bytes, whatever the name.
func (a *app) open(path string) (io.ReadCloser, error) { return a.openCounted(path, nil) }

// openCounted also counts the bytes of the file as they are read, before they
// are decompressed.
func (a *app) openCounted(path string, read *atomic.Uint64) (io.ReadCloser, error) {
	var closers []io.Closer
	in := a.env.Stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		closers = append(closers, f)
		in = f
	}
	if read != nil {
		in = &counted{in, read}
	}
	b := bufio.NewReaderSize(in, inputBuffer)
	if magic, err := b.Peek(2); err == nil && bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(b)
		if err != nil {
			for _, c := range closers {
				err = errors.Join(err, c.Close())
			}
			return nil, err
		}
		closers = append(closers, z)
		return &input{z, closers}, nil
	}
	return &input{b, closers}, nil
}

const (
	// inputBuffer is how much is read at once.
	inputBuffer = 256 << 10
	// maxLine bounds one record of a text file.
	maxLine = 8 << 20
)

type counted struct {
	io.Reader
	read *atomic.Uint64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.read.Add(uint64(n))
	return n, err
}

// input is a reader with everything that has to be closed after it.
type input struct {
	io.Reader
	closers []io.Closer
}

func (i *input) Close() error {
	var err error
	for _, c := range slices.Backward(i.closers) {
		err = errors.Join(err, c.Close())
	}
	return err
}

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}

package audit

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"
)

// maxLineBytes bounds a line that is read; what is written is far below.
const maxLineBytes = 64 << 10

// Read gives entries from a time on, the oldest first, until visit refuses; with
// follow it waits for others until the context ends. A line that a crash cut is left out.
func (l *Log) Read(ctx context.Context, since time.Time, follow bool, visit func(Entry) error) error {
	files, changed, err := l.files()
	if err != nil {
		return err
	}
	defer func() {
		for _, f := range files {
			_ = f.Close() // it was only read
		}
	}()
	t := &tail{since: since, visit: visit}
	for len(files) > 1 {
		if err := t.read(files[0]); err != nil {
			return err
		}
		_ = files[0].Close() // it was only read
		files = files[1:]
	}
	for {
		if len(files) > 0 {
			if err := t.read(files[0]); err != nil {
				return err
			}
		}
		if !follow {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
		if changed, err = l.next(&files, t); err != nil {
			return err
		}
	}
}

// files opens all that there are, the oldest first, as they are at one moment.
func (l *Log) files() (files []*os.File, changed <-chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n := KeptFiles; n >= 0; n-- {
		f, err := os.Open(l.numbered(n))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return files, nil, err
		}
		files = append(files, f)
	}
	return files, l.changed, nil
}

// next finishes a file that another has followed, and goes on with that. More than
// one rotation between two looks would take thousands of calls a second.
func (l *Log) next(files *[]*os.File, t *tail) (<-chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, err := os.Open(l.path)
	if err != nil {
		return nil, err
	}
	if len(*files) > 0 {
		old, err1 := (*files)[0].Stat()
		new, err2 := now.Stat()
		if err1 == nil && err2 == nil && os.SameFile(old, new) {
			return l.changed, now.Close()
		}
		if err := t.read((*files)[0]); err != nil {
			return nil, errors.Join(err, now.Close())
		}
		_ = (*files)[0].Close() // it was only read
	}
	t.rest = t.rest[:0]
	*files = []*os.File{now}
	return l.changed, nil
}

// tail reads lines of a file that grows.
type tail struct {
	since time.Time
	visit func(Entry) error
	rest  []byte // a line that has no end yet
}

func (t *tail) read(f *os.File) error {
	r := bufio.NewReader(f)
	for {
		part, err := r.ReadSlice('\n')
		if len(t.rest)+len(part) <= maxLineBytes {
			t.rest = append(t.rest, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		var e Entry
		bad := json.Unmarshal(t.rest, &e)
		t.rest = t.rest[:0]
		if bad != nil || e.Time.Before(t.since) {
			continue
		}
		if err := t.visit(e); err != nil {
			return err
		}
	}
}

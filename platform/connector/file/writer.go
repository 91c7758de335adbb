package file

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/failpoint"
	"github.com/weirstream/weir/platform/format"
)

// MaxOpenBytes bounds what a writer holds of the file that is open.
const MaxOpenBytes = 512 << 20

// pushBytes is when a writer of one file, or of standard output, writes.
const pushBytes = 64 << 10

// writer gathers lines. What it holds of the open file is its state in a
// checkpoint; a file that is full becomes a transaction.
type writer struct {
	sink     *Sink
	id       connector.WriterID
	encoder  format.Encoder
	open     []byte
	opened   time.Time
	finished bool

	out  io.Writer // one file or standard output; nil with a folder
	file *os.File
}

func (w *writer) header() {
	if w.sink.cfg.Header != "" && len(w.open) == 0 {
		w.open = append(append(w.open, w.sink.cfg.Header...), '\n')
	}
}

// Write encodes rows, a line each.
func (w *writer) Write(b *batch.Batch) error {
	if len(w.open) == 0 && w.out == nil {
		w.opened = time.Now()
		w.header()
	}
	for i := range b.Len() {
		row := b.Row(i)
		if b.Kind(row) != batch.Insert {
			return fmt.Errorf("write to %s: %w: lines have no place for updates and deletes", w.sink.cfg.Path, connector.ErrPermanent)
		}
		w.open = append(w.encoder.Append(w.open, b.Columns, row), '\n')
	}
	if w.out != nil && len(w.open) >= pushBytes {
		return w.Push(context.Background())
	}
	if len(w.open) > MaxOpenBytes {
		return fmt.Errorf("write to %s: %w: %d MiB wait for a checkpoint: shorten its interval", w.sink.cfg.Path, connector.ErrPermanent, MaxOpenBytes>>20)
	}
	return nil
}

// Push writes what it holds, where output is written as it comes.
func (w *writer) Push(context.Context) error {
	if w.out == nil || len(w.open) == 0 {
		return nil
	}
	if _, err := w.out.Write(w.open); err != nil {
		return fmt.Errorf("write to %s: %w", w.sink.cfg.Path, err)
	}
	w.open = w.open[:0]
	return nil
}

// Flush makes sure that everything written is in a file.
func (w *writer) Flush(ctx context.Context) error {
	if w.out != nil {
		if err := w.Push(ctx); err != nil {
			return err
		}
		if w.file == nil {
			return nil
		}
		return w.file.Sync()
	}
	if w.sink.cfg.Guarantee == connector.ExactlyOnce || len(w.open) == 0 {
		return nil
	}
	// A file of its own for every flush: nothing identifies it but its time.
	name := w.sink.finalName(w.id, uint64(time.Now().UnixNano()))
	if err := w.sink.create(name, [][]byte{w.open}); err != nil {
		return err
	}
	w.open = w.open[:0]
	return nil
}

// Finish says that nothing more will be written: the open file is closed at the
// next Prepare.
func (w *writer) Finish() { w.finished = true }

type txnMeta struct {
	Name string `json:"name"`
}

// Prepare closes the open file if it is large, old, or the last.
func (w *writer) Prepare(ctx context.Context, checkpoint uint64) (connector.Transaction, error) {
	t := connector.Transaction{Writer: w.id, Checkpoint: checkpoint}
	if w.sink.cfg.Guarantee == connector.AtLeastOnce {
		return t, w.Flush(ctx)
	}
	due := w.finished || len(w.open) >= w.sink.cfg.RollBytes || time.Since(w.opened) >= w.sink.cfg.RollAfter
	if len(w.open) == 0 || !due {
		return t, nil
	}
	meta, err := json.Marshal(txnMeta{w.sink.finalName(w.id, checkpoint)})
	if err != nil {
		return t, err
	}
	t.Meta, t.Chunks = meta, [][]byte{w.open}
	w.open = nil
	return t, nil
}

// State is what the open file holds.
func (w *writer) State() []byte {
	if len(w.open) == 0 || w.out != nil {
		return nil
	}
	return append([]byte(nil), w.open...)
}

// Restore takes the open file of this writer, or of one that is no more, back.
func (w *writer) Restore(state []byte) error {
	if w.out != nil {
		return fmt.Errorf("restore writer %s: %s is written as output comes and has no state", w.id, w.sink.cfg.Path)
	}
	if h := w.sink.cfg.Header; h != "" && len(w.open) > 0 && len(state) > len(h) && string(state[:len(h)]) == h {
		state = state[len(h)+1:]
	}
	w.open = append(w.open, state...)
	return nil
}

// Recycle has nothing to take back.
func (w *writer) Recycle(connector.Transaction) {}

// Close closes the file.
func (w *writer) Close() error {
	if w.file == nil {
		return nil
	}
	return w.file.Close()
}

// Publish creates a transaction's file whole. That it is there says that it was
// published.
func (s *Sink) Publish(_ context.Context, t connector.Transaction) error {
	if len(t.Chunks) == 0 {
		return nil
	}
	var meta txnMeta
	if err := json.Unmarshal(t.Meta, &meta); err != nil {
		return fmt.Errorf("publish transaction %d of %s: %w: %w", t.Checkpoint, t.Writer, connector.ErrPermanent, err)
	}
	if meta.Name == "" || meta.Name != filepath.Base(meta.Name) {
		return fmt.Errorf("publish transaction %d of %s: %w: %q is no name of a file", t.Checkpoint, t.Writer, connector.ErrPermanent, meta.Name)
	}
	if err := s.create(meta.Name, t.Chunks); err != nil {
		return fmt.Errorf("publish transaction %d of %s: %w", t.Checkpoint, t.Writer, err)
	}
	return nil
}

// create makes a file appear whole. The name under which it grows is one that no
// other attempt has.
func (s *Sink) create(name string, chunks [][]byte) (err error) {
	final := s.path(name)
	if _, err := os.Stat(final); err == nil {
		return nil
	}
	f, err := os.CreateTemp(s.cfg.Path, ".in-progress-"+name+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil && !errors.Is(err, failpoint.ErrInjected) {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	for _, c := range chunks {
		if _, err := f.Write(c); err != nil {
			return err
		}
	}
	if err := errors.Join(f.Chmod(0o644), f.Sync()); err != nil {
		return err
	}
	if err := failpoint.Hit(failpoint.FileBeforeRename); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), final); err != nil {
		return err
	}
	s.sweep(name)
	if err := errors.Join(f.Close(), syncFolder(s.cfg.Path)); err != nil {
		return err
	}
	return failpoint.Hit(failpoint.FileAfterRename)
}

// sweep removes what attempts that died left of a file that is there now. If one
// of them is alive after all, its rename fails and it finds the file.
func (s *Sink) sweep(name string) {
	left, err := filepath.Glob(s.path(".in-progress-" + name + "-*"))
	if err != nil {
		return
	}
	for _, l := range left {
		_ = os.Remove(l) // tidying up: a leftover does no harm
	}
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

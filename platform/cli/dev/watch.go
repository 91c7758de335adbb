package dev

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/fsnotify/fsnotify"

	"github.com/weirstream/weir/platform/cli"
)

// watch tells that something may have changed in a project's folders; whether
// anything did is for the snapshot to say.
type watch struct {
	options cli.DevOptions
	notify  *fsnotify.Watcher
}

func newWatch(o cli.DevOptions) (*watch, error) {
	n, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", o.Dir, err)
	}
	w := &watch{options: o, notify: n}
	if err := w.add(); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return w, nil
}

// add watches every folder that is there now; those already watched stay so.
func (w *watch) add() error {
	err := filepath.WalkDir(w.options.Dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist) && path != w.options.Dir:
			return nil // removed between listing and looking
		case err != nil:
			return err
		case !d.IsDir():
			return nil
		case path != w.options.Dir && passedOver(d.Name()):
			return fs.SkipDir
		}
		return w.notify.Add(path)
	})
	if err == nil {
		err = w.notify.Add(filepath.Dir(w.options.Pipeline))
	}
	if err != nil {
		return fmt.Errorf("watch %s: %w", w.options.Dir, err)
	}
	return nil
}

func (w *watch) events() <-chan fsnotify.Event { return w.notify.Events }

func (w *watch) errors() <-chan error { return w.notify.Errors }

func (w *watch) close() { _ = w.notify.Close() }

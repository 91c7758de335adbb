package dev

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"connectrpc.com/connect"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/cli"
)

// snapshot is a fingerprint of the project's sources: names, sizes, times. A
// file that cannot be looked at is as one that is not there.
func (l *loop) snapshot() uint64 {
	h := fnv.New64a()
	_ = filepath.WalkDir(l.options.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // it was removed between listing and looking
		}
		name := d.Name()
		if d.IsDir() {
			if path != l.options.Dir && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules") {
				return fs.SkipDir
			}
			return nil
		}
		if strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") || (strings.HasSuffix(name, ".wasm") && l.made(path)) {
			return nil
		}
		if info, err := d.Info(); err == nil {
			fmt.Fprintln(h, path, info.Size(), info.ModTime().UnixNano())
		}
		return nil
	})
	if info, err := os.Stat(l.options.Pipeline); err == nil {
		fmt.Fprintln(h, info.Size(), info.ModTime().UnixNano())
	}
	return h.Sum64()
}

// made tells whether a module is what a build writes; then its sources count.
func (l *loop) made(module string) bool {
	return l.options.Build != "" || exists(module, "build.sh") || exists(module, "go.mod")
}

// exists tells whether a file stands beside a module.
func exists(module, name string) bool {
	_, err := os.Stat(filepath.Join(filepath.Dir(module), name))
	return err == nil
}

// build makes a module by the given command, else by build.sh or the go command
// in its folder; false if nothing of that is there and the file is taken as it is.
func build(ctx context.Context, module, command string) (bool, error) {
	dir := filepath.Dir(module)
	var cmd *exec.Cmd
	switch {
	case command != "":
		cmd = exec.CommandContext(ctx, "sh", "-c", command)
	case exists(module, "build.sh"):
		cmd = exec.CommandContext(ctx, "sh", "build.sh")
	case exists(module, "go.mod"):
		cmd = exec.CommandContext(ctx, "go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", filepath.Base(module), ".")
		cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	default:
		return false, nil
	}
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return false, fmt.Errorf("build %s: %w\n%s", module, err, bytes.TrimSpace(out))
	}
	return true, nil
}

// feed is a file whose lines go to a topic as they appear.
type feed struct {
	topic, path string
	namespace   string // empty until the topic is there
	offset      int64
	failed      string // the last complaint, so that each is made once
}

// feedChunk bounds what is read of a file at one look.
const feedChunk = 4 << 20

func parseFeeds(topics []string) ([]*feed, error) {
	var feeds []*feed
	for _, t := range topics {
		name, path, ok := strings.Cut(t, "=")
		if !ok || name == "" || path == "" {
			return nil, fmt.Errorf("--topic %s has no file: write --topic NAME=FILE", t)
		}
		if strings.HasSuffix(path, ".gz") {
			return nil, fmt.Errorf("feed topic %s: %s is compressed and cannot grow: decompress it first", name, path)
		}
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("feed topic %s: %w", name, err)
		}
		feeds = append(feeds, &feed{topic: name, path: path})
	}
	return feeds, nil
}

// feed publishes what the files have grown by.
func (l *loop) feed(ctx context.Context) {
	for _, f := range l.feeds {
		if f.namespace == "" {
			continue
		}
		err := f.next(ctx, func(records []*weirv1.Record) error {
			_, err := l.topics.Publish(ctx, connect.NewRequest(&weirv1.PublishRequest{Namespace: f.namespace, Topic: f.topic, Records: records}))
			return err
		})
		if err == nil || ctx.Err() != nil {
			f.failed = ""
			continue
		}
		if text := "feed topic " + f.topic + ": " + describe(err); text != f.failed {
			f.failed = text
			l.options.Say(cli.DevEvent{Step: cli.DevFailed, Text: text})
		}
	}
}

// next publishes the whole lines behind the offset. A file that has shrunk
// begins anew.
func (f *feed) next(ctx context.Context, publish func([]*weirv1.Record) error) (err error) {
	file, err := os.Open(f.path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if info.Size() < f.offset {
		f.offset = 0
	}
	for f.offset < info.Size() && ctx.Err() == nil {
		chunk := make([]byte, min(feedChunk, info.Size()-f.offset))
		n, err := file.ReadAt(chunk, f.offset)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		end := bytes.LastIndexByte(chunk[:n], '\n') + 1
		if end == 0 && n == feedChunk {
			return fmt.Errorf("%s has a line longer than %d bytes", f.path, feedChunk)
		}
		if end == 0 {
			return nil // a line that is not whole yet
		}
		var records []*weirv1.Record
		for line := range bytes.Lines(chunk[:end]) {
			if line = bytes.TrimSpace(line); len(line) > 0 {
				records = append(records, &weirv1.Record{Value: line})
			}
		}
		if len(records) > 0 {
			if err := publish(records); err != nil {
				return err
			}
		}
		f.offset += int64(end)
	}
	return nil
}

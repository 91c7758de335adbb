package dev

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"connectrpc.com/connect"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/cli"
)

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

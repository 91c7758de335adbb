package snapshot

import (
	"bufio"
	"context"
	"fmt"
	"io"

	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/state"
)

const (
	// InlineBytes is up to where a part needs no object.
	InlineBytes = 64 << 10
	// smallChunkBytes is up to where a chunk is inline although there is an object.
	smallChunkBytes = 1 << 10
	pipeBytes       = 256 << 10
)

// WritePart writes what a worker's tasks hold at a barrier: one object, or none
// if it is small. On an error nothing counts; the caller may call again with the
// same snapshots, as long as their generations are not released.
func WritePart(ctx context.Context, store blob.Store, id PartID, snaps []OperatorSnapshot) (*Part, error) {
	w := newObjectWriter(ctx, store, id.objectName())
	p := &Part{ID: id}
	for _, s := range snaps {
		o, err := w.operator(id, s)
		if err != nil {
			w.abort(err)
			return nil, fmt.Errorf("write part %s, operator %s, task %d: %w", id, s.Operator, s.Task, err)
		}
		p.Operators = append(p.Operators, o)
	}
	if err := w.finish(p); err != nil {
		return nil, fmt.Errorf("write part %s: %w", id, err)
	}
	return p, nil
}

func (w *objectWriter) operator(id PartID, s OperatorSnapshot) (PartOperator, error) {
	o := PartOperator{Operator: s.Operator, Task: s.Task, Groups: s.Groups, Timers: NextTimers{NoTimer, NoTimer}}
	if s.Timers != nil {
		o.Timers = *s.Timers
	}
	if !s.Groups.valid() {
		return o, fmt.Errorf("key groups %s are no range within %s", s.Groups, AllGroups())
	}
	if s.Keyed != nil && s.Keyed.Len() > 0 {
		sw, err := w.segment()
		if err != nil {
			return o, err
		}
		for e := range s.Keyed.Entries() {
			if err := sw.add(e); err != nil {
				return o, err
			}
		}
		if f, may := s.Keyed.(state.Failing); may && f.Err() != nil {
			return o, fmt.Errorf("read the generation: %w", f.Err())
		}
		if o.Segments, err = w.closeSegment(sw, s.Groups, id.Checkpoint); err != nil {
			return o, err
		}
	}
	for _, item := range s.Items {
		ref := ItemRef{Kind: item.Kind, Key: item.Key}
		for _, data := range item.Data {
			c, err := w.chunk(data)
			if err != nil {
				return o, err
			}
			ref.Chunks = append(ref.Chunks, c)
		}
		o.Items = append(o.Items, ref)
	}
	return o, nil
}

// objectWriter keeps the first bytes in memory; when they are too many to be
// inline it begins an object and streams, so that a part of any size takes
// little memory.
type objectWriter struct {
	ctx    context.Context //nolint:containedctx // lives as long as one call of WritePart
	store  blob.Store
	name   string
	buf    []byte
	length int64

	out  *bufio.Writer
	pipe *io.PipeWriter
	done chan error // gives the put's end
}

func newObjectWriter(ctx context.Context, store blob.Store, name string) *objectWriter {
	return &objectWriter{ctx: ctx, store: store, name: name}
}

func (w *objectWriter) Write(b []byte) (int, error) {
	w.length += int64(len(b))
	if w.out != nil {
		return w.out.Write(b)
	}
	w.buf = append(w.buf, b...)
	if len(w.buf) <= InlineBytes {
		return len(b), nil
	}
	r, pipe := io.Pipe()
	w.pipe, w.out, w.done = pipe, bufio.NewWriterSize(pipe, pipeBytes), make(chan error, 1)
	go func() {
		_, err := w.store.Put(w.ctx, w.name, r)
		r.CloseWithError(err) // an early end of the put ends the writing
		w.done <- err
	}()
	if _, err := w.out.Write(w.buf); err != nil {
		return 0, err
	}
	w.buf = nil
	return len(b), nil
}

func (w *objectWriter) segment() (*segmentWriter, error) { return newSegmentWriter(w) }

// closeSegment gives the segment just written, none if it has no entries.
func (w *objectWriter) closeSegment(sw *segmentWriter, g Groups, checkpoint uint64) ([]SegmentRef, error) {
	begin := w.length - sw.info.length
	info, err := sw.close()
	if err != nil {
		return nil, err
	}
	if info.entries == 0 {
		return nil, nil
	}
	return []SegmentRef{{
		Extent:    Extent{Object: w.name, Offset: begin, Length: w.length - begin},
		TailBytes: info.tailBytes, Groups: g, FirstHash: info.firstHash, LastHash: info.lastHash,
		Entries: info.entries, Checkpoint: checkpoint,
	}}, nil
}

func (w *objectWriter) chunk(data []byte) (Chunk, error) {
	if len(data) > MaxChunkBytes {
		return Chunk{}, fmt.Errorf("a chunk of %d bytes is over the limit of %d; split it", len(data), MaxChunkBytes)
	}
	c := Chunk{Extent: Extent{Object: w.name, Offset: w.length, Length: int64(len(data))}, CRC: checksum(data)}
	if len(data) <= smallChunkBytes {
		c.Inline = append([]byte{}, data...)
		return c, nil
	}
	_, err := w.Write(data)
	return c, err
}

// finish ends the object, or turns what it would hold into inline bytes.
func (w *objectWriter) finish(p *Part) error {
	if w.out != nil {
		if err := w.out.Flush(); err != nil {
			w.abort(err)
			return err
		}
		if err := w.pipe.Close(); err != nil {
			return err
		}
		p.ObjectBytes = w.length
		return <-w.done
	}
	inline := func(x *Extent) {
		if x.Inline == nil {
			x.Inline = w.buf[x.Offset : x.Offset+x.Length : x.Offset+x.Length]
		}
	}
	for i := range p.Operators {
		for j := range p.Operators[i].Segments {
			inline(&p.Operators[i].Segments[j].Extent)
		}
		for j := range p.Operators[i].Items {
			for k := range p.Operators[i].Items[j].Chunks {
				inline(&p.Operators[i].Items[j].Chunks[k].Extent)
			}
		}
	}
	for i := range p.Merged {
		for j := range p.Merged[i].Output {
			inline(&p.Merged[i].Output[j].Extent)
		}
	}
	return nil
}

// abort ends a put without an object, and waits for it.
func (w *objectWriter) abort(cause error) {
	if w.out != nil {
		_ = w.pipe.CloseWithError(cause) // it never fails
		<-w.done
	}
}

package jetstream

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/platform/connector"
)

func TestFramesAreCompressedWhereThatPaysAndReadAlikeEitherWay(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 3*frameTarget/2)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	text := bytes.Repeat([]byte(`{"origin":"SFO","delay":17}`), len(noise)/27)
	for _, c := range []struct {
		name   string
		how    Compression
		value  []byte
		codecs []frame.Codec
	}{
		{"text", WherePaying, text, []frame.Codec{frame.CodecS2, frame.CodecS2, frame.CodecS2}},
		{"noise", WherePaying, noise, []frame.Codec{frame.CodecNone, frame.CodecNone, frame.CodecNone}},
		{"uncompressed text", Uncompressed, text, []frame.Codec{frame.CodecNone, frame.CodecNone, frame.CodecNone}},
	} {
		t.Run(c.name, func(t *testing.T) {
			nc := serve(t)
			topic := create(t, nc, Topic{Name: "t", Partitions: 1})
			p, err := NewPublisher(t.Context(), nc, topic, PublisherOptions{Compression: c.how})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			// Each value fills a frame by itself.
			for i := range c.codecs {
				rec := Record{Key: fmt.Append(nil, i), Value: c.value, TimeMicros: int64(i + 1)}
				if err := p.PublishAll(within(t), []Record{rec}); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.Flush(within(t)); err != nil {
				t.Fatal(err)
			}
			n := 0
			err = Read(within(t), nc, topic, ReadOptions{Bound: connector.UntilEnd}, func(f Found) error {
				if string(f.Key) != fmt.Sprint(n) || !bytes.Equal(f.Value, c.value) || f.TimeMicros != int64(n+1) {
					t.Errorf("record %d: key %q, %d bytes, time %d", n, f.Key, len(f.Value), f.TimeMicros)
				}
				n++
				m, ok, err := topic.message(within(t), nc, messageQuery{Sequence: f.Sequence})
				if err != nil || !ok {
					t.Fatal(ok, err)
				}
				h, err := frame.ReadStoredHeader(m.Data)
				if err != nil {
					t.Fatal(err)
				}
				if h.Codec != c.codecs[f.Sequence-1] {
					t.Errorf("frame %d: codec %s, want %s", f.Sequence, h.Codec, c.codecs[f.Sequence-1])
				}
				return nil
			})
			if err != nil || n != len(c.codecs) {
				t.Errorf("%d records, want %d, error %v", n, len(c.codecs), err)
			}
		})
	}
}

func TestCompressionIsTriedAgainAfterAWhile(t *testing.T) {
	c := compressor{plain: 2}
	a := newAccumulator(rowSchema)
	var codecs []frame.Codec
	for range 4 {
		for range 1000 {
			a.rows.Column(0).AppendBytes([]byte("key"))
			a.rows.Column(1).AppendInt64(1)
		}
		a.count, a.bytes = 1000, 1000*20
		stored := a.stored()
		out, err := c.append(nil, &stored, a.bytes)
		if err != nil {
			t.Fatal(err)
		}
		h, err := frame.ReadStoredHeader(out)
		if err != nil {
			t.Fatal(err)
		}
		codecs = append(codecs, h.Codec)
		a.reset()
	}
	if want := "[none none s2 s2]"; fmt.Sprint(codecs) != want {
		t.Errorf("codecs %v, want %s", codecs, want)
	}
}

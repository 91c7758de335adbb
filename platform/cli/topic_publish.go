package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/weirstream/weir/abi/frame"
	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

// publishing is one run of `weir topic publish`.
type publishing struct {
	topic, file, format      string
	keyField, separator      string
	codec                    string
	rate                     float64
	skip                     uint64
	o                        outputFormat
	read, stored, storedLine atomic.Uint64 // bytes of the file; records; lines
	started                  time.Time
}

func (a *app) topicPublish() *cobra.Command {
	p := &publishing{}
	cmd := &cobra.Command{
		Use:   "publish NAME --file FILE",
		Short: "Publish the records of a file or of standard input",
		Long: `Publish records to a topic: one a line, of a file or of standard input (--file -).
Compressed input (.gz) is decompressed.

  --format json   each line is JSON; --key FIELD takes the record's key from a field
  --format csv    the first row is a header, not published; --key FIELD names a column
  --format raw    each line is text; --key-separator splits key and value

Without --format, files ending in .csv are csv, all else json. Records with the same
key go to the same partition and stay in the order of the file; without a key they
are spread.

Each record is published once. A request that could not reach the server is tried
again, because nothing of it was sent; one whose answer was lost is not, because it
may be stored. The command then says up to which line everything is stored, so that
--skip can go on from there.`,
		Example: `  weir topic publish flights --file flights.jsonl.gz --key origin
  tail -f events.log | weir topic publish events --file - --format raw
  weir topic publish load --file load.jsonl --key id --rate 20000`,
		Args:              names("NAME"),
		ValidArgsFunction: a.completeName(topicNames),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			p.topic = args[0]
			if err := p.check(); err != nil {
				return err
			}
			return a.publish(cmd.Context(), c, p)
		}),
	}
	f := cmd.Flags()
	f.StringVarP(&p.file, "file", "f", "", "file of records, or - for standard input")
	f.StringVar(&p.format, "format", "", "json, csv or raw (default: by the file's name)")
	f.StringVar(&p.keyField, "key", "", "field whose text is the record's key (json, csv)")
	f.StringVar(&p.separator, "key-separator", "", "what stands between key and value (raw)")
	f.Float64Var(&p.rate, "rate", 0, "at most so many records a second (0: as fast as it goes)")
	f.Uint64Var(&p.skip, "skip", 0, "leave out the lines up to this number")
	f.StringVar(&p.codec, "codec", "s2", "compression of frames: none, s2 or zstd")
	outputFlag(cmd, &p.o, formatTable, formatJSON)
	return cmd
}

func (p *publishing) check() error {
	if p.file == "" {
		return usageError(errors.New("--file is missing"), "name a file, or - for standard input")
	}
	if p.format == "" {
		p.format = "json"
		if strings.HasSuffix(strings.TrimSuffix(p.file, ".gz"), ".csv") {
			p.format = "csv"
		}
		if p.separator != "" {
			p.format = "raw"
		}
	}
	switch {
	case p.format != "json" && p.format != "csv" && p.format != "raw":
		return usageError(fmt.Errorf("unknown format %q", p.format), "write --format json, csv or raw")
	case p.format == "raw" && p.keyField != "":
		return usageError(errors.New("--key names a field, and raw lines have none"), "split key and value by --key-separator")
	case p.format != "raw" && p.separator != "":
		return usageError(errors.New("--key-separator is for raw lines"), "name the key's field by --key")
	case p.rate < 0:
		return usageError(errors.New("--rate is negative"), "leave it out to go as fast as it goes")
	}
	return nil
}

func (a *app) publish(ctx context.Context, c *clients, p *publishing) error {
	r, err := c.topics.GetTopic(ctx, connect.NewRequest(&weirv1.GetTopicRequest{Namespace: a.namespace, Name: p.topic}))
	if err != nil {
		err = fmt.Errorf("publish to topic %q: %w", p.topic, err)
		if connect.CodeOf(err) == connect.CodeNotFound {
			return fail(ExitNotFound, fmt.Errorf("there is no topic %q in namespace %s", p.topic, a.namespace), "create it with: weir topic create %s", p.topic)
		}
		return err
	}
	var b batcher = &recordBatcher{}
	if r.Msg.GetTopic().GetLayout() != weirv1.Layout_LAYOUT_RECORDS {
		codec, err := frame.ParseCodec(p.codec)
		if err != nil {
			return usageError(err, "leave --codec out for s2")
		}
		b = newFrameBatcher(max(int(r.Msg.GetTopic().GetPartitions()), 1), codec)
	}
	in, total, err := a.publishInput(p)
	if err != nil {
		return fmt.Errorf("read records: %w", err)
	}
	p.started = time.Now()
	line := a.startProgress(p.progressText(total))
	stop := make(chan struct{}) // closed when no more lines are wanted
	err = p.pump(ctx, newRecordReader(newLines(in, stop), p.format, p.keyField, p.separator), b, func(ctx context.Context, q *publication) error {
		return c.send(ctx, a.namespace, p.topic, q)
	})
	close(stop)
	line.end()
	if p.file != "-" {
		err = errors.Join(err, in.Close())
	}
	took := time.Since(p.started)
	if errors.Is(err, context.Canceled) && !isFailure(err) {
		return fail(ExitInterrupted, fmt.Errorf("interrupted: %s records are stored", count(p.stored.Load())), "go on with --skip %d", p.storedLine.Load())
	}
	if err != nil {
		return err
	}
	if p.o == formatJSON {
		_, err := fmt.Fprintf(a.env.Stdout, "{\"records\":%d,\"seconds\":%.3f}\n", p.stored.Load(), took.Seconds())
		return err
	}
	a.confirm("published %s records to %s in %s (%s)", count(p.stored.Load()), p.topic, span(took), rate(p.stored.Load(), took))
	return nil
}

// publishInput opens the file and tells its size, 0 if unknown.
func (a *app) publishInput(p *publishing) (io.ReadCloser, int64, error) {
	if p.file == "-" {
		in, err := a.open("-")
		return in, 0, err
	}
	var total int64
	if info, err := os.Stat(p.file); err == nil && info.Mode().IsRegular() {
		total = info.Size()
	}
	in, err := a.openCounted(p.file, &p.read)
	return in, total, err
}

func (p *publishing) progressText(total int64) func(time.Duration) string {
	return func(elapsed time.Duration) string {
		text := fmt.Sprintf("%s records, %s", count(p.stored.Load()), rate(p.stored.Load(), elapsed))
		if total > 0 {
			text += fmt.Sprintf(", %d%% read", min(100, int64(p.read.Load())*100/total))
		}
		return text
	}
}

// pump reads, batches and sends. One request is on its way while the next is built.
func (p *publishing) pump(ctx context.Context, r *recordReader, b batcher, send func(context.Context, *publication) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	requests := make(chan *publication)
	drained := make(chan struct{}) // closed when the last request is answered
	go func() {
		defer close(drained)
		for q := range requests {
			if context.Cause(ctx) != nil {
				continue
			}
			if err := send(ctx, q); err != nil {
				cancel(p.lost(ctx, q, err))
				continue
			}
			p.stored.Add(q.count)
			p.storedLine.Store(q.lastLine)
		}
	}()
	err := p.feed(ctx, r, b, requests)
	close(requests)
	<-drained
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err != nil && p.stored.Load() > 0 {
		f := explain(err)
		f.hint += fmt.Sprintf("; the %s records before it are stored, go on with --skip %d", count(p.stored.Load()), p.storedLine.Load())
		return f
	}
	return err
}

// feed gives requests to the sender until the input ends.
func (p *publishing) feed(ctx context.Context, r *recordReader, b batcher, requests chan<- *publication) error {
	flush := func() error {
		q, err := b.cut()
		if q == nil || err != nil {
			return err
		}
		select {
		case requests <- q:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	pace := pacer{rate: p.rate, start: time.Now()}
	for {
		rec, err := r.next()
		switch {
		case errors.Is(err, io.EOF):
			return flush()
		case errors.Is(err, errLinger):
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err := flush(); err != nil {
				return err
			}
			continue
		case err != nil:
			return errors.Join(flush(), err)
		case rec.line <= p.skip:
			continue
		}
		full := b.add(rec, time.Now().UnixMicro())
		wait := pace.after(1)
		if !full && wait == 0 {
			continue
		}
		if err := flush(); err != nil {
			return err
		}
		if wait > 0 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
}

// lost says what is known of the records after a request that was not answered.
func (p *publishing) lost(ctx context.Context, q *publication, err error) error {
	f := explain(fmt.Errorf("publish to topic %q: %w", p.topic, err))
	if ctx.Err() != nil {
		f = &failure{exit: ExitInterrupted, text: "interrupted", err: err}
	}
	certain := fmt.Sprintf("%s records are stored, up to line %d", count(p.stored.Load()), q.firstLine-1)
	switch {
	case notReached(err):
		f.exit = ExitUnreachable
		f.text = fmt.Sprintf("publish to topic %q: the server has gone: %s", p.topic, certain)
		f.hint = fmt.Sprintf("once it is back, go on with --skip %d", q.firstLine-1)
	default:
		f.text += fmt.Sprintf(": %s; of lines %d to %d some may be", certain, q.firstLine, q.lastLine)
		f.hint = fmt.Sprintf("to lose none, and perhaps double those, go on with --skip %d; to double none, with --skip %d", q.firstLine-1, q.lastLine)
	}
	return f
}

// pacer holds back records beyond a rate.
type pacer struct {
	rate  float64
	start time.Time
	sent  uint64
}

// pacerGrain is the shortest pause that is worth a request of its own.
const pacerGrain = 5 * time.Millisecond

// after counts records and gives how long to wait before the next.
func (p *pacer) after(n uint64) time.Duration {
	if p.rate == 0 {
		return 0
	}
	p.sent += n
	due := time.Duration(float64(p.sent) / p.rate * float64(time.Second))
	if wait := due - time.Since(p.start); wait >= pacerGrain {
		return wait
	}
	return 0
}

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/runtime"
	"github.com/weirstream/weir/platform/runtime/exchange/local"
	"github.com/weirstream/weir/platform/runtime/exchange/remote"
)

const (
	exchangeSchema   = "key:int64,amount:int64,pad:binary"
	exchangePad      = 84 // which makes a row of 100 B, besides its offset, time and hash
	exchangeRows     = 1024
	exchangeFewRows  = 64 // of a batch that was dealt out among 16 tasks
	exchangeChannels = 2
	exchangePeer     = "WEIR_BENCH_EXCHANGE_PEER" // set: this process is the receiver
	peerSays         = "peer "
	peerEpoch        = 2
)

// way is one manner of getting batches to somewhere else.
type way struct {
	name string
	rows int // of a whole batch
	// scattered: each channel gets every other row, as a keyed edge deals them out.
	scattered bool
	run       func(ctx context.Context, p *peer, batches [exchangeChannels]*batch.Batch, n int) (there time.Duration, err error)
}

// runExchange sends records to another process, and as baselines to a task of this
// one, and the same bytes through a bare connection. Processor time counts, on both sides.
func runExchange(ctx context.Context, c *config) error {
	if os.Getenv(exchangePeer) != "" {
		return receiveExchange(ctx)
	}
	p, err := startPeer(ctx)
	if err != nil {
		return err
	}
	ways := []way{
		{"bare TCP, the same bytes", exchangeRows, false, bareTCP},
		{"local", exchangeRows, false, throughLocal},
		{"remote, whole batches", exchangeRows, false, throughRemote},
		{"remote, scattered", exchangeRows, true, throughRemote},
		{"bare TCP, small writes", exchangeFewRows, false, bareTCP},
		{"remote, small batches", exchangeFewRows, false, throughRemote},
	}
	figures := make([][3][]float64, len(ways)) // records a second, ns here, ns there
	for range max(c.rounds, 3) {
		for i, w := range ways { // in turns, so that all see the same machine
			batches := exchangeBatches(w.rows, w.scattered)
			n := c.records / batches[0].Len() / exchangeChannels
			records := float64(n * exchangeChannels * batches[0].Len())
			began, busy := time.Now(), cpu()
			there, err := w.run(ctx, p, batches, n)
			if err != nil {
				return errors.Join(err, p.stop())
			}
			for j, v := range []float64{records / time.Since(began).Seconds(), float64(cpu()-busy) / records, float64(there) / records} {
				figures[i][j] = append(figures[i][j], v)
			}
			for _, b := range batches {
				b.Release()
			}
		}
	}
	for i, w := range ways {
		fmt.Printf("%-25s %7.1f M records/s   CPU a record: %5.1f ns here, %5.1f ns there\n",
			w.name, median(figures[i][0])/1e6, median(figures[i][1]), median(figures[i][2]))
	}
	return p.stop()
}

// exchangeBatches makes what is sent, again and again, by channel.
func exchangeBatches(rows int, scattered bool) (out [exchangeChannels]*batch.Batch) {
	b := batch.NewBuilder(schema.MustParse(exchangeSchema))
	pad := make([]byte, exchangePad)
	for i := range rows {
		b.Column(0).AppendInt64(int64(i))
		b.Column(1).AppendInt64(int64(i))
		b.Column(2).AppendBytes(pad)
		b.EndRow(int64(i))
	}
	whole := b.Finish("", 0)
	clear(whole.MakeHashes())
	for c := range out {
		out[c] = whole.Retain().View()
		if scattered {
			sel := out[c].Select(rows / exchangeChannels)
			for i := range sel {
				sel[i] = int32(i*exchangeChannels + c)
			}
		}
	}
	whole.Release()
	return out
}

// sendAll sends n batches and the end on each channel, from a goroutine each.
func sendAll(ctx context.Context, to [exchangeChannels]runtime.Sender, batches [exchangeChannels]*batch.Batch, n int) error {
	var senders sync.WaitGroup
	var failed [exchangeChannels]error
	for c, s := range to {
		senders.Go(func() {
			for range n {
				if failed[c] = s.Send(ctx, element.Element{Kind: element.KindBatch, Batch: batches[c].Retain()}); failed[c] != nil {
					return
				}
			}
			failed[c] = s.Send(ctx, element.Element{Kind: element.KindEndOfInput})
		})
	}
	senders.Wait()
	return errors.Join(failed[:]...)
}

// drain takes everything from an inbox until its channels have ended.
func drain(in *local.Inbox) (rows int) {
	for ended := 0; ended < exchangeChannels; {
		m := <-in.C
		if m.Element.Batch != nil {
			rows += m.Element.Batch.Len()
			m.Element.Batch.Release()
		} else {
			ended++
		}
		in.Done(m)
	}
	return rows
}

func throughLocal(ctx context.Context, _ *peer, batches [exchangeChannels]*batch.Batch, n int) (time.Duration, error) {
	in := local.NewInbox(exchangeChannels)
	var to [exchangeChannels]runtime.Sender
	for c := range to {
		to[c] = in.Channel(c)
	}
	got := make(chan int)
	go func() { got <- drain(in) }()
	err := sendAll(ctx, to, batches, n)
	if rows := <-got; rows != n*exchangeChannels*batches[0].Len() {
		return 0, fmt.Errorf("%d rows came", rows)
	}
	return 0, err
}

func throughRemote(ctx context.Context, p *peer, batches [exchangeChannels]*batch.Batch, n int) (time.Duration, error) {
	p.attempt++
	if _, err := p.ask("open %d", p.attempt); err != nil {
		return 0, err
	}
	d := remote.NewDialer(remote.Options{Log: slog.Default(), Self: func() uint64 { return 1 }})
	l, err := d.Dial(ctx, p.address, peerEpoch, remote.Attempt{UID: "bench", Attempt: p.attempt})
	if err != nil {
		return 0, err
	}
	defer l.Close()
	var to [exchangeChannels]runtime.Sender
	for c := range to {
		to[c] = l.Channel(remote.Channel{Number: c}, batches[0].Schema)
	}
	if err := sendAll(ctx, to, batches, n); err != nil {
		return 0, err
	}
	return p.result(n * exchangeChannels * batches[0].Len())
}

// bareTCP writes as many bytes as the exchange would, in writes as large.
func bareTCP(ctx context.Context, p *peer, batches [exchangeChannels]*batch.Batch, n int) (time.Duration, error) {
	rowBytes := 8 + 8 + 4 + exchangePad + 8 + 8
	block := make([]byte, batches[0].Len()*rowBytes)
	if _, err := p.ask("bare %d", len(block)); err != nil {
		return 0, err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.bare)
	if err != nil {
		return 0, err
	}
	for range n * exchangeChannels {
		if _, err := conn.Write(block); err != nil {
			return 0, errors.Join(err, conn.Close())
		}
	}
	if err := conn.Close(); err != nil {
		return 0, err
	}
	return p.result(n * exchangeChannels * len(block))
}

// peer is the receiving process, which is told on its input what comes.
type peer struct {
	process       *exec.Cmd
	in            io.WriteCloser
	out           *bufio.Scanner
	address, bare string
	attempt       uint64
}

func startPeer(ctx context.Context) (*peer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &peer{process: exec.CommandContext(ctx, self, "-only", "exchange")}
	p.process.Env = append(os.Environ(), exchangePeer+"=1")
	p.process.Stderr = os.Stderr
	if p.in, err = p.process.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := p.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewScanner(stdout)
	if err := p.process.Start(); err != nil {
		return nil, err
	}
	line, err := p.answer()
	if err == nil {
		_, err = fmt.Sscan(line, &p.address, &p.bare)
	}
	return p, err
}

func (p *peer) stop() error { return errors.Join(p.in.Close(), p.process.Wait()) }

func (p *peer) ask(format string, args ...any) (string, error) {
	if _, err := fmt.Fprintf(p.in, format+"\n", args...); err != nil {
		return "", err
	}
	return p.answer()
}

func (p *peer) answer() (string, error) {
	for p.out.Scan() {
		if rest, ok := strings.CutPrefix(p.out.Text(), peerSays); ok {
			return rest, nil
		}
	}
	return "", errors.Join(errors.New("the receiving process has ended"), p.out.Err())
}

// result waits until everything has arrived, and gives the receiver's processor time.
func (p *peer) result(want int) (took time.Duration, err error) {
	line, err := p.answer()
	if err != nil {
		return 0, err
	}
	got := 0
	if _, err := fmt.Sscan(line, &got, (*int64)(&took)); err != nil {
		return 0, fmt.Errorf("the receiving process says %q: %w", line, err)
	}
	if got != want {
		return 0, fmt.Errorf("the receiving process got %d of %d", got, want)
	}
	return took, nil
}

// receiveExchange is the other process.
func receiveExchange(ctx context.Context) error {
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	bare, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	hub := remote.NewHub(remote.Options{Log: slog.Default(), Self: func() uint64 { return peerEpoch }})
	server := &http.Server{Handler: hub, BaseContext: func(net.Listener) context.Context { return ctx }}
	go func() { _ = server.Serve(front) }()
	fmt.Println(peerSays, front.Addr(), bare.Addr())
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var what string
		var n int
		if _, err := fmt.Sscan(lines.Text(), &what, &n); err != nil {
			return err
		}
		busy := cpu()
		var got int
		if what == "open" {
			got, err = receiveRemote(hub, uint64(n))
		} else {
			got, err = receiveBare(bare, n)
		}
		if err != nil {
			return err
		}
		fmt.Println(peerSays, got, int64(cpu()-busy))
	}
	hub.Close()
	return server.Close()
}

func receiveRemote(hub *remote.Hub, attempt uint64) (int, error) {
	in := local.NewInbox(exchangeChannels)
	inlets := map[remote.Channel]remote.Inlet{}
	for c := range exchangeChannels {
		inlets[remote.Channel{Number: c}] = remote.Inlet{Inbox: in, Schema: schema.MustParse(exchangeSchema)}
	}
	failed := make(chan error, 1)
	end := hub.Open(remote.Attempt{UID: "bench", Attempt: attempt}, inlets, func(err error) { failed <- err })
	fmt.Println(peerSays, "ready")
	got := make(chan int, 1)
	go func() { got <- drain(in) }()
	select {
	case rows := <-got:
		defer end()
		return rows, nil
	case err := <-failed:
		return 0, err
	}
}

func receiveBare(l net.Listener, size int) (got int, err error) {
	fmt.Println(peerSays, "ready")
	conn, err := l.Accept()
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	buf := make([]byte, size)
	for {
		n, err := conn.Read(buf)
		got += n
		if errors.Is(err, io.EOF) {
			return got, nil
		}
		if err != nil {
			return got, err
		}
	}
}

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
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
		{"remote, scattered, TLS", exchangeRows, true, throughTLS},
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
	return p.through(ctx, p.address, nil, batches, n)
}

func throughTLS(ctx context.Context, p *peer, batches [exchangeChannels]*batch.Batch, n int) (time.Duration, error) {
	return p.through(ctx, p.secure, func() *tls.Config { return &tls.Config{RootCAs: p.trusted, MinVersion: tls.VersionTLS13} }, batches, n)
}

func (p *peer) through(ctx context.Context, address string, secure func() *tls.Config, batches [exchangeChannels]*batch.Batch, n int) (time.Duration, error) {
	p.attempt++
	if _, err := p.ask("open %d", p.attempt); err != nil {
		return 0, err
	}
	d := remote.NewDialer(remote.Options{Log: slog.Default(), Self: func() uint64 { return 1 }, TLS: secure})
	l, err := d.Dial(ctx, address, peerEpoch, remote.Attempt{UID: "bench", Attempt: p.attempt})
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

package remote

import (
	"fmt"
	"net"
	"net/http"
	"testing"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/runtime/exchange/local"
)

// BenchmarkBatches has both ends in one process; platform/bench parts them.
func BenchmarkBatches(b *testing.B) {
	for _, rows := range []int{64, 1024} {
		b.Run(fmt.Sprint(rows, " rows"), func(b *testing.B) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			hub := NewHub(options(receiver, nil))
			server := &http.Server{Handler: hub}
			go func() { _ = server.Serve(l) }()
			defer server.Close()
			s := schema.MustParse("key:int64,amount:int64,pad:binary")
			in := local.NewInbox(1)
			end := hub.Open(job, inlets(in, 1, s), func(err error) { b.Error(err) })
			link, err := NewDialer(options(sender, nil)).Dial(b.Context(), l.Addr().String(), receiver, job)
			if err != nil {
				b.Fatal(err)
			}
			build := batch.NewBuilder(s)
			for i := range rows {
				build.Column(0).AppendInt64(int64(i))
				build.Column(1).AppendInt64(int64(i))
				build.Column(2).AppendBytes(make([]byte, 84))
				build.EndRow(0)
			}
			whole := build.Finish("", 0)
			defer whole.Release()
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				for m := range in.C {
					in.Done(m)
					if m.Element.Batch == nil {
						return
					}
					m.Element.Batch.Release()
				}
			}()
			o := link.Channel(at(0), s)
			b.ReportAllocs()
			b.SetBytes(int64(rows) * 100)
			for b.Loop() {
				if err := o.Send(b.Context(), element.Element{Kind: element.KindBatch, Batch: whole.Retain()}); err != nil {
					b.Fatal(err)
				}
			}
			if err := o.Send(b.Context(), element.Element{Kind: element.KindEndOfInput}); err != nil {
				b.Fatal(err)
			}
			<-ended
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(rows), "ns/row")
			link.Close()
			end()
		})
	}
}

// Command functionguest is the module of stateful functions that end-to-end tests
// run: two types that send each other messages round and round, and a third that a
// later revision brings. Every message counts, and every count is told to an egress.
package main

import (
	"errors"
	"strings"
	"time"

	weir "github.com/weirstream/weir/sdk/go"
)

// Order is the value of a message.
type Order struct {
	Hops  []string `json:"hops,omitempty"`  // addresses to go on to, one after the other: type/id with one slash more
	After int64    `json:"after,omitempty"` // ms to wait before the next hop
	Get   bool     `json:"get,omitempty"`   // answer, and count nothing
	Reply bool     `json:"reply,omitempty"` // count, and answer
	Bad   bool     `json:"bad,omitempty"`   // refuse the message
}

// Count is an answer, and what an egress is told.
type Count struct {
	Type string `json:"type"`
	ID   string `json:"id"`
	N    int64  `json:"n"`
}

var (
	orders = weir.AsJSON[Order]()
	counts = weir.AsJSON[Count]()
)

func main() {}

func init() {
	for _, kind := range []string{"test/left", "test/right", "test/late"} {
		declare(kind)
	}
}

func declare(kind string) {
	f := weir.Stateful(kind)
	count := weir.ValueOf[int64](f, "n")
	told := weir.To(f, "test/counts", counts)
	weir.On(f, orders, func(ctx *weir.Context, o *Order) error {
		if o.Bad {
			return errors.New("it is bad")
		}
		n, _ := count.Get(ctx)
		if !o.Get {
			n++
			count.Set(ctx, n)
		}
		self := ctx.Self()
		c := Count{kind, self.ID, n}
		if o.Get || o.Reply {
			weir.Reply(ctx, counts, c)
		}
		if o.Get {
			return nil
		}
		told.Send(ctx, self.ID, c)
		if len(o.Hops) == 0 {
			return nil
		}
		to, next := address(o.Hops[0]), Order{Hops: o.Hops[1:]}
		if o.After > 0 {
			weir.SendAfter(ctx, time.Duration(o.After)*time.Millisecond, to, orders, next)
		} else {
			weir.Send(ctx, to, orders, next)
		}
		return nil
	})
}

// address parts a text: a type has one slash.
func address(text string) weir.Address {
	namespace, rest, _ := strings.Cut(text, "/")
	name, id, _ := strings.Cut(rest, "/")
	return weir.Address{Type: namespace + "/" + name, ID: id}
}

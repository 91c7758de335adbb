// Command golden is the module of the savepoint that is kept here: a value, a
// list, a map and a timer for each user.
package main

import (
	"time"

	weir "github.com/weirstream/weir/sdk/go"
)

// Visit comes in.
type Visit struct {
	User string
	Page int64
	At   time.Time
}

// Count goes out.
type Count struct {
	User   string
	Visits int64
}

// Seen is the value.
type Seen struct{ Visits int64 }

var (
	visits  = weir.Keyed("visits", "user")
	in      = weir.In[Visit](visits, "visits")
	out     = weir.Out[Count](visits)
	seen    = weir.ValueOf[Seen](visits, "seen")
	history = weir.ListOf[int64](visits, "history")
	pages   = weir.MapOf[int64, int64](visits, "pages")
	quiet   = weir.EventTimer(visits, "quiet")
)

func init() {
	in.On(func(ctx *weir.Context, v *Visit) error {
		s, _ := seen.Get(ctx)
		s.Visits++
		seen.Set(ctx, s)
		history.Append(ctx, v.Page)
		n, _ := pages.Get(ctx, v.Page)
		pages.Put(ctx, v.Page, n+1)
		quiet.Set(ctx, v.At.Add(time.Hour))
		out.Emit(ctx, Count{v.User, s.Visits})
		return nil
	})
	quiet.On(func(ctx *weir.Context, _ time.Time) error { return nil })
}

func main() {}

package weir_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	weir "github.com/weirstream/weir/sdk/go"
	"github.com/weirstream/weir/sdk/go/weirtest"
)

// An account counts, asks a scorer outside, reminds itself, and can be reset.
type step struct {
	Add    int64  `json:"add,omitempty"`
	Remind string `json:"remind,omitempty"` // in an hour; the text is the token
	Forget string `json:"forget,omitempty"`
	Ask    bool   `json:"ask,omitempty"`
	Get    bool   `json:"get,omitempty"`
}

type balance struct {
	Sum int64 `json:"sum"`
}

var (
	stepType    = weir.AsJSON[step]()
	balanceType = weir.AsJSON[balance]("test.weir/balance")

	account   = weir.Stateful("test.weir/account", weir.Doc("keeps a sum"))
	sum       = weir.ValueOf[int64](account, "sum")
	reminders = weir.To(account, "test.weir/reminders", weir.AsText)
	scores    = weir.HTTP(account, "score", func(ctx *weir.Context, a *weir.Answer) error {
		if a.Error != "" {
			reminders.Send(ctx, "", "no score: "+a.Error)
			return nil
		}
		*sum.Edit(ctx) += int64(len(a.Body)) * int64(len(a.Payload))
		return nil
	})

	ledger = weir.Stateful("test.weir/ledger")
	total  = weir.ValueOf[int64](ledger, "total")
)

func init() {
	weir.On(account, stepType, func(ctx *weir.Context, s *step) error {
		if s.Add < 0 {
			return errors.New("less than nothing")
		}
		*sum.Edit(ctx) += s.Add
		if s.Add > 0 {
			weir.Send(ctx, weir.Address{Type: "test.weir/ledger", ID: "all"}, balanceType, balance{s.Add})
		}
		if s.Remind != "" {
			weir.SendAfterWithToken(ctx, s.Remind, time.Hour, ctx.Self(), weir.AsText, s.Remind)
		}
		if s.Forget != "" {
			weir.Cancel(ctx, s.Forget)
		}
		if s.Ask {
			scores.Send(ctx, weir.Request{Method: "POST", URL: "https://api.example.com/score", Headers: map[string]string{"X-Id": ctx.Self().ID}, Attempts: 3}, []byte("pp"))
		}
		if s.Get {
			weir.Reply(ctx, balanceType, balance{*sum.Edit(ctx)})
		}
		return nil
	})
	weir.On(account, weir.AsText, func(ctx *weir.Context, text *string) error {
		reminders.Send(ctx, ctx.Self().ID, *text)
		return nil
	})
	weir.On(ledger, balanceType, func(ctx *weir.Context, b *balance) error {
		if from, ok := ctx.Caller(); !ok || from.Type != "test.weir/account" {
			return errors.New("not from an account")
		}
		*total.Edit(ctx) += b.Sum
		return nil
	})
}

func acct(id string) weir.Address { return weir.Address{Type: "test.weir/account", ID: id} }

func TestFunctionsSendEachOtherMessagesAndReply(t *testing.T) {
	app := weirtest.NewApp(t)
	for i := range 20 {
		weirtest.Queue(app, acct([]string{"ann", "bob"}[i%2]), stepType, step{Add: int64(i)})
	}
	app.Settle()
	if got, _ := weirtest.State[int64](app.Of("test.weir/ledger"), "total", "all"); got != 190 {
		t.Errorf("the ledger has %d, want 190", got)
	}
	if got, _ := weirtest.State[int64](app.Of("test.weir/account"), "sum", "bob"); got != 100 {
		t.Errorf("bob has %d, want 100", got)
	}
	caller := weir.Address{Type: "io.weir/call", ID: "7"}
	weirtest.DeliverFrom(app, caller, acct("ann"), stepType, step{Get: true})
	out := app.Outside()
	if len(out) != 1 || out[0].To != caller || out[0].From != acct("ann") || weirtest.Decode(t, balanceType, out[0].Typename, out[0].Value).Sum != 90 {
		t.Errorf("%+v", out)
	}
	weirtest.Deliver(app, acct("ann"), stepType, step{Get: true}) // nobody to reply to
	if n := len(app.Outside()); n != 1 {
		t.Errorf("%d replies", n)
	}
}

func TestADelayedMessageComesInItsTimeUnlessItIsCancelledOrReplaced(t *testing.T) {
	app := weirtest.NewApp(t)
	weirtest.Deliver(app, acct("ann"), stepType, step{Remind: "a"})
	weirtest.Deliver(app, acct("ann"), stepType, step{Remind: "b"})
	weirtest.Deliver(app, acct("bob"), stepType, step{Remind: "a"}) // another sender's token
	app.Advance(30 * time.Minute)
	weirtest.Deliver(app, acct("ann"), stepType, step{Remind: "b"}) // replaces
	weirtest.Deliver(app, acct("ann"), stepType, step{Forget: "a"})
	app.Restart()
	app.Advance(31 * time.Minute)
	got := app.Egress("test.weir/reminders")
	if len(got) != 1 || string(got[0].Key) != "bob" || string(got[0].Value) != "a" {
		t.Fatalf("%+v", got)
	}
	app.Advance(time.Hour)
	if got = app.Egress("test.weir/reminders"); len(got) != 2 || string(got[1].Key) != "ann" || string(got[1].Value) != "b" || app.Delayed() != 0 {
		t.Fatalf("%+v", got)
	}
	weirtest.Deliver(app, acct("ann"), stepType, step{Forget: "b"}) // it has been delivered: nothing happens
}

func TestARequestIsAnsweredOnce(t *testing.T) {
	app := weirtest.NewApp(t)
	weirtest.Deliver(app, acct("ann"), stepType, step{Ask: true})
	weirtest.Deliver(app, acct("bob"), stepType, step{Ask: true})
	asked := app.Requests()
	if len(asked) != 2 || asked[0].Headers["X-Id"] != "ann" || asked[0].Attempts != 3 || asked[0].Method != "POST" {
		t.Fatalf("%+v", asked)
	}
	app.Answer(asked[1], weir.Answer{Error: "status 503"})
	app.Answer(asked[0], weir.Answer{Status: 200, Body: []byte("abc")})
	if got, _ := weirtest.State[int64](app.Of("test.weir/account"), "sum", "ann"); got != 6 {
		t.Errorf("ann has %d, want 6", got)
	}
	if got := app.Egress("test.weir/reminders"); len(got) != 1 || string(got[0].Value) != "no score: status 503" || got[0].From != acct("bob") {
		t.Errorf("%+v", got)
	}
}

func TestAMessageThatIsRefusedLeavesNothing(t *testing.T) {
	app := weirtest.NewApp(t)
	weirtest.Deliver(app, acct("ann"), stepType, step{Add: 3})
	weirtest.Deliver(app, acct("ann"), stepType, step{Add: -1, Remind: "x"})
	weirtest.Deliver(app, acct("ann"), balanceType, balance{1})
	weirtest.Deliver(app, weir.Address{Type: "test.weir/ledger", ID: "all"}, balanceType, balance{1})
	failures := app.Of("test.weir/account").Failures()
	if len(failures) != 2 || !strings.Contains(failures[0].Text, "less than nothing") || !strings.Contains(failures[1].Text, `no handler for messages of type "test.weir/balance"`) {
		t.Errorf("%+v", failures)
	}
	if failures := app.Of("test.weir/ledger").Failures(); len(failures) != 1 || app.Delayed() != 0 {
		t.Errorf("%+v, %d delayed", failures, app.Delayed())
	}
	if got, _ := weirtest.State[int64](app.Of("test.weir/account"), "sum", "ann"); got != 3 {
		t.Errorf("ann has %d, want 3", got)
	}
}

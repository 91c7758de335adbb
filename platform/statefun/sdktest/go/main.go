// Command greeter is a server of functions as users of StateFun have it: the
// unchanged Go SDK. Weir's tests call it.
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/apache/flink-statefun/statefun-sdk-go/v3/pkg/statefun"
)

var (
	token, _ = statefun.NewCancellationToken("tok")

	greeterType = statefun.TypeNameFrom("com.example/greeter")
	inboxType   = statefun.TypeNameFrom("com.example/inbox")
	egressType  = statefun.TypeNameFrom("com.example/out")
)

// greeter counts who has been seen. "later" sends itself a reminder with a token,
// "never" cancels it.
func greeter(ctx statefun.Context, m statefun.Message) error {
	name := m.AsString()
	switch name {
	case "later":
		ctx.SendAfterWithCancellationToken(300*time.Millisecond, token, statefun.MessageBuilder{Target: ctx.Self(), Value: "reminded"})
		return nil
	case "never":
		ctx.CancelDelayedMessage(token)
		return nil
	}
	var seen int32
	ctx.Storage().Get(seenSpec, &seen)
	seen++
	ctx.Storage().Set(seenSpec, seen)
	text := fmt.Sprintf("%s %s %d", ctx.Self().Id, name, seen)
	ctx.Send(statefun.MessageBuilder{Target: statefun.Address{FunctionType: inboxType, Id: "all"}, Value: text})
	if caller := ctx.Caller(); caller != nil && caller.FunctionType != nil && caller.FunctionType != ctx.Self().FunctionType {
		ctx.Send(statefun.MessageBuilder{Target: *ctx.Caller(), Value: text})
	}
	return nil
}

// inbox counts what comes, and gives it to the outside.
func inbox(ctx statefun.Context, m statefun.Message) error {
	var n int32
	ctx.Storage().Get(countSpec, &n)
	n++
	ctx.Storage().Set(countSpec, n)
	ctx.SendEgress(statefun.GenericEgressBuilder{Target: egressType, Value: fmt.Sprintf("%d: %s", n, m.AsString()), ValueType: statefun.StringType})
	return nil
}

var (
	seenSpec  = statefun.ValueSpec{Name: "seen", ValueType: statefun.Int32Type}
	countSpec = statefun.ValueSpec{Name: "count", ValueType: statefun.Int32Type, Expiration: statefun.ExpireAfterWrite(time.Hour)}
)

func main() {
	builder := statefun.StatefulFunctionsBuilder()
	for _, spec := range []statefun.StatefulFunctionSpec{
		{FunctionType: greeterType, States: []statefun.ValueSpec{seenSpec}, Function: statefun.StatefulFunctionPointer(greeter)},
		{FunctionType: inboxType, States: []statefun.ValueSpec{countSpec}, Function: statefun.StatefulFunctionPointer(inbox)},
	} {
		if err := builder.WithSpec(spec); err != nil {
			log.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprintln(os.Stdout, l.Addr()) // the test reads where it listens
	http.Handle("/statefun", builder.AsHandler())
	log.Fatal(http.Serve(l, nil))
}

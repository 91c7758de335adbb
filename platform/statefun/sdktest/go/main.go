// Command greeter is a server of functions as users of StateFun have it: the
// unchanged Go SDK. Weir's tests call it.
package main

import (
	"errors"
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
	typesType   = statefun.TypeNameFrom("com.example/types")
	egressType  = statefun.TypeNameFrom("com.example/out")
)

// greeter counts who has been seen. Some names are commands: "later" sends itself
// a reminder with a token, "never" cancels it, "again" does both in one go.
func greeter(ctx statefun.Context, m statefun.Message) error {
	name := m.AsString()
	reminder := func(text string) statefun.MessageBuilder {
		return statefun.MessageBuilder{Target: ctx.Self(), Value: text}
	}
	switch name {
	case "later":
		ctx.SendAfterWithCancellationToken(300*time.Millisecond, token, reminder("reminded"))
		return nil
	case "never":
		ctx.CancelDelayedMessage(token)
		return nil
	case "again":
		ctx.SendAfterWithCancellationToken(time.Second, token, reminder("first"))
		ctx.SendAfter(2*time.Second, reminder("second"))
		ctx.CancelDelayedMessage(token)
		return nil
	case "forget":
		ctx.Storage().Remove(seenSpec)
		return nil
	case "record":
		ctx.SendEgress(&statefun.KafkaEgressBuilder{Target: egressType, Topic: "greets", Key: "k", Value: "v"})
		ctx.SendEgress(&statefun.KinesisEgressBuilder{Target: egressType, Stream: "greets", PartitionKey: "k", Value: "v"})
		return nil
	case "nothing":
		return nil
	case "fail":
		return errors.New("told to fail")
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

// types keeps a value under the name of its type, and sends it on as it came.
func types(ctx statefun.Context, m statefun.Message) error {
	pass := func(state statefun.ValueSpec, value any) error {
		ctx.Storage().Set(state, value)
		ctx.Send(statefun.MessageBuilder{Target: statefun.Address{FunctionType: inboxType, Id: "types"}, Value: value, ValueType: state.ValueType})
		return nil
	}
	switch {
	case m.IsBool():
		return pass(typesSpecs[0], m.AsBool())
	case m.IsInt32():
		return pass(typesSpecs[1], m.AsInt32())
	case m.IsInt64():
		return pass(typesSpecs[2], m.AsInt64())
	case m.IsFloat32():
		return pass(typesSpecs[3], m.AsFloat32())
	case m.IsFloat64():
		return pass(typesSpecs[4], m.AsFloat64())
	case m.IsString():
		return pass(typesSpecs[5], m.AsString())
	}
	var user struct {
		Name string `json:"name"`
	}
	if err := m.As(userType, &user); err != nil {
		return err
	}
	return pass(typesSpecs[6], user)
}

var userType = statefun.MakeJsonType(statefun.TypeNameFrom("com.example/User"))

var typesSpecs = []statefun.ValueSpec{
	{Name: "bool", ValueType: statefun.BoolType},
	{Name: "int", ValueType: statefun.Int32Type},
	{Name: "long", ValueType: statefun.Int64Type},
	{Name: "float", ValueType: statefun.Float32Type},
	{Name: "double", ValueType: statefun.Float64Type},
	{Name: "string", ValueType: statefun.StringType, Expiration: statefun.ExpireAfterCall(time.Minute)},
	{Name: "user", ValueType: userType},
}

var (
	seenSpec  = statefun.ValueSpec{Name: "seen", ValueType: statefun.Int32Type}
	countSpec = statefun.ValueSpec{Name: "count", ValueType: statefun.Int32Type, Expiration: statefun.ExpireAfterWrite(time.Hour)}
)

func main() {
	builder := statefun.StatefulFunctionsBuilder()
	for _, spec := range []statefun.StatefulFunctionSpec{
		{FunctionType: greeterType, States: []statefun.ValueSpec{seenSpec}, Function: statefun.StatefulFunctionPointer(greeter)},
		{FunctionType: typesType, States: typesSpecs, Function: statefun.StatefulFunctionPointer(types)},
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

package cli

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/functions"
)

func (a *app) functionCommand() *cobra.Command {
	return group("function", "Functions: send to them, call them, see what they hold",
		`Reach stateful functions by their address, which is namespace/name/id: the type of a
function that a pipeline has (weir function list), and any id.`,
		a.functionSend(), a.functionCall(), a.functionState(), a.functionList(), a.functionInfo(), a.quarantineCommand())
}

// value is what a message says: flags of send and call.
type value struct {
	json, file, typename, key string
}

func (v *value) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&v.json, "json", "", "the value, as JSON")
	f.StringVar(&v.file, "file", "", "the value: the bytes of a file, or of standard input (-)")
	f.StringVar(&v.typename, "typename", "", "type name of the value (default: "+functions.JSONTypename+" for JSON, else "+functions.BytesTypename+")")
	f.StringVar(&v.key, "idempotency-key", "", "a name of this request: within two minutes it has an effect once")
}

// message makes a message to an address.
func (a *app) message(text string, v *value) (*weirv1.FunctionMessage, error) {
	address, err := functions.ParseAddress(text)
	if err != nil {
		return nil, usageError(err, "weir function list shows the types; the id may be anything")
	}
	m := &weirv1.FunctionMessage{Type: address.Type, Id: address.ID, Typename: v.typename}
	switch {
	case v.json != "" && v.file != "":
		return nil, usageError(errors.New("--json and --file exclude each other"), "name one of them")
	case v.json != "":
		if !json.Valid([]byte(v.json)) {
			return nil, usageError(fmt.Errorf("--json %s: it is no JSON", cut(v.json)), `write it like '{"n":1}'; a text has quotes of its own: '"text"'`)
		}
		m.Value = []byte(v.json)
	case v.file != "":
		if m.Value, err = a.readValue(v.file); err != nil {
			return nil, err
		}
		if m.GetTypename() == "" && !json.Valid(m.GetValue()) {
			m.Typename = functions.BytesTypename
		}
	case v.typename == "":
		return nil, usageError(errors.New("the message says nothing"), "add --json VALUE or --file FILE, or --typename for a message of a type name alone")
	}
	if m.GetTypename() == "" {
		m.Typename = functions.JSONTypename
	}
	return m, nil
}

// readValue reads a value, as it stands.
func (a *app) readValue(path string) ([]byte, error) {
	in := a.env.Stdin
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("read the value: %w", err)
		}
		defer func() { _ = file.Close() }() // it was only read
		in = file
	}
	b, err := io.ReadAll(io.LimitReader(in, functions.MaxValueBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read the value: %w", err)
	}
	if len(b) > functions.MaxValueBytes {
		return nil, usageError(fmt.Errorf("%s has more than %s bytes, the limit of a message", path, count(functions.MaxValueBytes)), "store it elsewhere and send where")
	}
	if b == nil {
		b = []byte{}
	}
	return b, nil
}

func (a *app) functionSend() *cobra.Command {
	var (
		v value
		o outputFormat
	)
	cmd := &cobra.Command{
		Use: "send ADDRESS", Short: "Store a message to a function",
		Long: `Store a message to a function. It is stored when the command ends, and is delivered
once, after what was sent to the address before, also if the pipeline stands still now.`,
		Example:           "  weir function send com.example/counter/acct-7 --json '{\"n\":1}'\n  weir function send com.example/image/7 --file photo.png --typename com.example/png --idempotency-key upload-7",
		Args:              names("ADDRESS"),
		ValidArgsFunction: a.completeAddress,
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			m, err := a.message(args[0], &v)
			if err != nil {
				return err
			}
			r, err := c.functions.Send(cmd.Context(), connect.NewRequest(&weirv1.SendRequest{Namespace: a.namespace, Messages: []*weirv1.FunctionMessage{m}, IdempotencyKey: v.key}))
			if err != nil {
				return fmt.Errorf("send to %s: %w", args[0], err)
			}
			if o == formatJSON {
				return printJSON(a.env.Stdout, r.Msg)
			}
			if r.Msg.GetDuplicate() {
				a.confirm("it was stored before, by a request of the same key")
				return nil
			}
			a.confirm("stored a message to %s", args[0])
			return nil
		}),
	}
	v.add(cmd)
	outputFlag(cmd, &o, formatTable, formatJSON)
	return cmd
}

func (a *app) functionCall() *cobra.Command {
	var (
		v         value
		o         outputFormat
		timeout   time.Duration
		committed bool
	)
	cmd := &cobra.Command{
		Use: "call ADDRESS", Short: "Call a function and print its answer",
		Long: `Send a message to a function, wait for the first that it answers its caller, and print
that. Without --committed it comes as soon as the function has given it: after a crash
before the next checkpoint the function does its work again. With --committed it comes
when its checkpoint is committed, so that what it tells of cannot be undone.

A call whose answer did not come in time may still be carried out. One that comes again
with the same --idempotency-key is given the first one's answer.`,
		Example:           "  weir function call com.example/counter/acct-7 --json '{\"get\":true}'\n  weir function call com.example/counter/acct-7 --json '{\"n\":1}' --committed --timeout 30s | jq .n",
		Args:              names("ADDRESS"),
		ValidArgsFunction: a.completeAddress,
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			m, err := a.message(args[0], &v)
			if err != nil {
				return err
			}
			if timeout < time.Millisecond {
				return usageError(fmt.Errorf("--timeout %s: a call takes longer", timeout), "write it like 500ms or 5s")
			}
			r, err := c.functions.Call(cmd.Context(), connect.NewRequest(&weirv1.CallRequest{
				Namespace: a.namespace, Message: m, TimeoutMs: uint32(min(timeout, time.Hour).Milliseconds()), Committed: committed, IdempotencyKey: v.key,
			}))
			if err != nil {
				return callError(args[0], err)
			}
			if o == formatJSON {
				return printAnswer(a.env.Stdout, r.Msg)
			}
			return a.showAnswer(r.Msg)
		}),
	}
	v.add(cmd)
	cmd.Flags().DurationVar(&timeout, "timeout", 10*time.Second, "how long to wait for the answer, at most 5m")
	cmd.Flags().BoolVar(&committed, "committed", false, "wait until what the answer tells of is committed")
	outputFlag(cmd, &o, formatTable, formatJSON)
	return cmd
}

// callError tells an answer that is late from a server that is.
func callError(address string, err error) error {
	f := explain(fmt.Errorf("call %s: %w", address, err))
	if connect.CodeOf(err) == connect.CodeDeadlineExceeded && connect.IsWireError(err) {
		return f.as(ExitFailure)
	}
	return f
}

// showAnswer prints an answer's value as it is, with a line's end if it is text.
func (a *app) showAnswer(r *weirv1.CallResponse) error {
	if r.Value == nil {
		a.confirm("the answer has the type name %s and no value", r.GetTypename())
		return nil
	}
	b := r.GetValue()
	if utf8.Valid(b) && !strings.HasSuffix(string(b), "\n") {
		b = append(b, '\n')
	}
	_, err := a.env.Stdout.Write(b)
	return err
}

func printAnswer(w io.Writer, r *weirv1.CallResponse) error {
	b := appendText([]byte(`{"type":`), r.GetType())
	b = appendText(append(b, `,"id":`...), r.GetId())
	b = appendText(append(b, `,"typename":`...), r.GetTypename())
	switch v := r.GetValue(); {
	case r.Value == nil:
		b = append(b, `,"value":null`...)
	case json.Valid(v):
		b = append(append(b, `,"value":`...), v...)
	default:
		b = appendText(append(b, `,"value_base64":`...), base64.StdEncoding.EncodeToString(v))
	}
	return indent(w, append(b, '}'))
}

func (a *app) functionState() *cobra.Command {
	var (
		o          outputFormat
		checkpoint uint64
	)
	cmd := &cobra.Command{
		Use: "state ADDRESS", Short: "Show what an address holds",
		Long: `Show the state of an address in the newest checkpoint, or in one that is kept. What the
function has done since is not in it; weir state get reads savepoints too.`,
		Example:           "  weir function state com.example/counter/acct-7\n  weir function state com.example/counter/acct-7 -o json | jq '.entries[0].value'",
		Args:              names("ADDRESS"),
		ValidArgsFunction: a.completeAddress,
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			address, err := functions.ParseAddress(args[0])
			if err != nil {
				return usageError(err, "weir function list shows the types; the id may be anything")
			}
			r, err := c.functions.GetFunctionState(cmd.Context(), connect.NewRequest(&weirv1.GetFunctionStateRequest{
				Namespace: a.namespace, Type: address.Type, Id: address.ID, Checkpoint: checkpoint,
			}))
			if err != nil {
				return fmt.Errorf("read state of %s: %w", args[0], err)
			}
			read := stateRead{origin: r.Msg.GetOrigin(), entries: r.Msg.GetEntries()}
			if o == formatJSON {
				err = read.printObject(a)
			} else {
				err = read.printTable(a, "")
			}
			if err == nil && r.Msg.GetMore() {
				a.confirm("the address holds more than these; weir state get %s %s ID --state NAME shows one state", r.Msg.GetPipeline(), address.Type)
			}
			return err
		}),
	}
	cmd.Flags().Uint64Var(&checkpoint, "checkpoint", 0, "of this checkpoint (default: the newest)")
	outputFlag(cmd, &o, formatTable, formatJSON)
	return cmd
}

func (a *app) functionList() *cobra.Command {
	var o outputFormat
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the types of functions",
		Long:    "List the types of stateful functions in the namespace, with the pipeline that each is in.",
		Example: "  weir function list\n  weir function list -o json | jq -r '.[].type'",
		Args:    names(),
		RunE: a.call(func(cmd *cobra.Command, c *clients, _ []string) error {
			r, err := c.functions.ListFunctions(cmd.Context(), connect.NewRequest(&weirv1.ListFunctionsRequest{Namespace: a.namespace}))
			if err != nil {
				return fmt.Errorf("list functions: %w", err)
			}
			if o == formatJSON {
				return printJSONList(a.env.Stdout, r.Msg.GetFunctions())
			}
			if len(r.Msg.GetFunctions()) == 0 {
				a.confirm("no pipeline in namespace %s has stateful functions", a.namespace)
				return nil
			}
			p := a.out()
			t := newTable("TYPE", "PIPELINE", "STATE", "MODULE", "FUNCTION")
			for _, f := range r.Msg.GetFunctions() {
				module := f.GetModule()
				if f.GetRemote() != "" {
					module = f.GetRemote()
				}
				t.row(f.GetType(), f.GetPipeline(), p.state(f.GetState()), dash(module), dash(f.GetFunction()))
			}
			return t.print(a.env.Stdout, p)
		}),
	}
	outputFlag(cmd, &o, formatTable, formatJSON)
	return cmd
}

func (a *app) functionInfo() *cobra.Command {
	var o outputFormat
	cmd := &cobra.Command{
		Use: "info TYPE", Short: "Show one type: its states, where its messages come from",
		Long:              "Show a type of stateful functions: the pipeline and module it is in, its states, the\ningresses that send to it, and the pipeline's egresses.",
		Example:           "  weir function info com.example/counter",
		Args:              names("TYPE"),
		ValidArgsFunction: a.completeName(functionTypes),
		RunE: a.call(func(cmd *cobra.Command, c *clients, args []string) error {
			r, err := c.functions.GetFunction(cmd.Context(), connect.NewRequest(&weirv1.GetFunctionRequest{Namespace: a.namespace, Type: args[0]}))
			if err != nil {
				return fmt.Errorf("show function %s: %w", args[0], err)
			}
			if o == formatJSON {
				return printJSON(a.env.Stdout, r.Msg)
			}
			return a.showFunction(r.Msg)
		}),
	}
	outputFlag(cmd, &o, formatTable, formatJSON)
	return cmd
}

func (a *app) showFunction(r *weirv1.GetFunctionResponse) error {
	w, p, f := a.env.Stdout, a.out(), r.GetFunction()
	module := dash(f.GetModule()) + " @sha256:" + shortDigest(f.GetModuleDigest())
	if f.GetRemote() != "" {
		module = ""
	}
	if err := pairs(w, p, "type", f.GetType(), "doc", r.GetDoc(), "pipeline", f.GetPipeline(), "state", p.state(f.GetState()),
		"module", module, "server", f.GetRemote(), "function", f.GetFunction(), "parallelism", fmt.Sprint(r.GetParallelism()),
		"messages", r.GetMessagesTopic(), "checkpoint", moment(r.GetLastCheckpoint())); err != nil {
		return err
	}
	if len(r.GetStates()) > 0 {
		fmt.Fprintln(w)
		t := newTable("STATE", "KIND", "FORM", "VALUE", "KEPT FOR")
		for _, st := range r.GetStates() {
			kept := "-"
			if st.GetTtlMs() > 0 {
				kept = period(int64(st.GetTtlMs())) + " after " + orDefault(st.GetTtlOn(), "write")
			}
			t.row(st.GetName(), st.GetKind(), st.GetForm(), strings.TrimSpace(st.GetCodec()+" "+st.GetValue()), kept)
		}
		if err := t.print(w, p); err != nil {
			return err
		}
	}
	if len(r.GetIngress()) > 0 {
		fmt.Fprintln(w)
		t := newTable("INGRESS", "ID", "TYPE NAME")
		for _, in := range r.GetIngress() {
			id := "the record's key"
			if in.GetField() != "" {
				id = "field " + in.GetField()
			}
			t.row(in.GetTopic(), id, in.GetTypename())
		}
		if err := t.print(w, p); err != nil {
			return err
		}
	}
	if len(r.GetEgress()) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t := newTable("EGRESS", "TOPIC", "GUARANTEE")
	for _, e := range r.GetEgress() {
		t.row(e.GetId(), e.GetTopic(), e.GetGuarantee())
	}
	return t.print(w, p)
}

// completeAddress completes the type of an address; the id is the caller's to say.
func (a *app) completeAddress(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
	found, directive := a.completeName(functionTypes)(cmd, args, start)
	for i := range found {
		found[i] += "/"
	}
	return found, directive | cobra.ShellCompDirectiveNoSpace
}

func functionTypes(ctx context.Context, c *clients, namespace string) ([]string, error) {
	r, err := c.functions.ListFunctions(ctx, connect.NewRequest(&weirv1.ListFunctionsRequest{Namespace: namespace}))
	if err != nil {
		return nil, err
	}
	var found []string
	for _, f := range r.Msg.GetFunctions() {
		found = append(found, f.GetType())
	}
	return found, nil
}

package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/weirstream/weir/abi/frame"
	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/connector/jetstream"
	"github.com/weirstream/weir/platform/functions"
	"github.com/weirstream/weir/platform/planner"
	"github.com/weirstream/weir/platform/topics"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// Send stores messages. Those to functions of one pipeline stand together: all of
// them are stored or none is.
func (g *Gateway) Send(ctx context.Context, r *weirv1.SendRequest) (*weirv1.SendResponse, error) {
	namespace := topics.Namespace(r.GetNamespace())
	if err := checkKey("send", r.GetIdempotencyKey()); err != nil {
		return nil, err
	}
	if n := len(r.GetMessages()); n == 0 || n > MaxMessages {
		return nil, refuse(catalog.ErrInvalid, "send %d messages: one request has 1 to %d", n, MaxMessages)
	}
	var (
		order []*catalog.Pipeline
		byUID = map[string][]*weirv1.FunctionMessage{}
		types = map[string]*catalog.Pipeline{}
		size  int
	)
	for i, m := range r.GetMessages() {
		what := "send to " + addressText(m)
		if len(r.GetMessages()) > 1 {
			what = fmt.Sprintf("message %d: %s", i, what)
		}
		if err := checkMessage(what, m); err != nil {
			return nil, err
		}
		if size += sizeOf(m); size > MaxBytes {
			return nil, refuse(catalog.ErrTooLarge, "%s: the messages up to this one have %d bytes, the limit of one request is %d; send them in several", what, size, MaxBytes)
		}
		p := types[m.GetType()]
		if p == nil {
			var err error
			if p, err = g.pipelineOf(ctx, what, namespace, m.GetType()); err != nil {
				return nil, err
			}
			types[m.GetType()] = p
		}
		if byUID[p.UID] == nil {
			order = append(order, p)
		}
		byUID[p.UID] = append(byUID[p.UID], m)
	}
	out := &weirv1.SendResponse{Stored: uint64(len(r.GetMessages())), Duplicate: true}
	for _, p := range order {
		duplicate, err := g.put(ctx, p, byUID[p.UID], functions.CallID{}, messageID('s', r.GetIdempotencyKey()))
		if err != nil {
			return nil, fmt.Errorf("send to functions of pipeline %s: %w", p.Name, err)
		}
		out.Duplicate = out.Duplicate && duplicate
	}
	g.sent.Add(out.Stored)
	return out, nil
}

// store puts requests into a pipeline's topic, as one frame, and waits until it is there.
func (g *Gateway) store(ctx context.Context, p *catalog.Pipeline, requests []*request, id string) (duplicate bool, err error) {
	name := planner.MessagesTopic(p.Name)
	t, ok := g.options.Node.View().Topic(p.Namespace, name)
	if !ok || t.System != topics.SystemMessages {
		return false, hint(refuse(catalog.ErrNotFound, "topic %s, which its messages go through, is gone", name), "apply the pipeline again: weir pipeline apply FILE")
	}
	b := frame.NewBuilder(functions.Message)
	var times []int64
	now := g.options.Clock().UnixMicro()
	for _, r := range requests {
		for _, m := range r.messages {
			appendMessage(b, m, r.call)
			times = append(times, now)
		}
	}
	stored, err := frame.AppendStored(nil, frame.Stored{Schema: functions.Message, Rows: len(times), Columns: b.Columns(), Times: times}, frame.CodecNone)
	if err != nil {
		return false, err
	}
	if most := jetstream.LargestFrame(g.options.Topics.Conn()); int64(len(stored)) > most {
		return false, hint(refuse(catalog.ErrTooLarge, "the messages have %d bytes as they are stored, NATS takes %d at once", len(stored), most), "send fewer at a time, or raise max_payload of NATS")
	}
	ctx, cancel := context.WithTimeout(ctx, storeLimit)
	defer cancel()
	return jetstream.StoreFrame(ctx, g.options.Topics.Conn(), topics.Convert(t), 0, stored, id)
}

// appendMessage writes a message; its caller is the call, or the outside.
func appendMessage(b *frame.Builder, m *weirv1.FunctionMessage, call functions.CallID) {
	b.Column(functions.MessageType).AppendString(m.GetType())
	b.Column(functions.MessageID).AppendString(m.GetId())
	if call.Call == "" {
		b.Column(functions.MessageCallerType).AppendNull()
		b.Column(functions.MessageCallerID).AppendNull()
	} else {
		b.Column(functions.MessageCallerType).AppendString(functions.CallType)
		b.Column(functions.MessageCallerID).AppendString(call.String())
	}
	b.Column(functions.MessageTypename).AppendString(typenameOf(m))
	if m.Value == nil {
		b.Column(functions.MessageValue).AppendNull()
	} else {
		b.Column(functions.MessageValue).AppendBytes(m.GetValue())
	}
}

// put stores messages: with a key on their own, so that the log knows them again,
// else together with what others send.
func (g *Gateway) put(ctx context.Context, p *catalog.Pipeline, messages []*weirv1.FunctionMessage, call functions.CallID, id string) (duplicate bool, err error) {
	if id == "" {
		return false, g.together(ctx, p, messages, call)
	}
	return g.store(ctx, p, []*request{{messages: messages, call: call}}, id)
}

// messageID is by which the log knows a request that comes again; empty: by nothing.
func messageID(kind byte, key string) string {
	if key == "" {
		return ""
	}
	return string(rune(kind)) + keyToken(key)
}

// keyToken stands for an idempotency key in ids.
func keyToken(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:16])
}

func checkKey(what, key string) error {
	if len(key) > MaxKeyBytes {
		return refuse(catalog.ErrInvalid, "%s: an idempotency key of %d bytes, the limit is %d", what, len(key), MaxKeyBytes)
	}
	return nil
}

func addressText(m *weirv1.FunctionMessage) string {
	text := functions.Address{Type: m.GetType(), ID: m.GetId()}.String()
	const most = 100
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

func typenameOf(m *weirv1.FunctionMessage) string {
	if m.GetTypename() == "" {
		return functions.JSONTypename
	}
	return m.GetTypename()
}

func sizeOf(m *weirv1.FunctionMessage) int {
	return len(m.GetType()) + len(m.GetId()) + len(m.GetTypename()) + len(m.GetValue())
}

func checkMessage(what string, m *weirv1.FunctionMessage) error {
	switch {
	case m == nil:
		return refuse(catalog.ErrInvalid, "%s: there is no message", what)
	case !utf8.ValidString(m.GetId()):
		return refuse(catalog.ErrInvalid, "%s: its id is not UTF-8", what)
	case len(m.GetTypename()) > functions.MaxTypenameBytes:
		return refuse(catalog.ErrInvalid, "%s: a type name of %d bytes, the limit is %d", what, len(m.GetTypename()), functions.MaxTypenameBytes)
	case functions.Internal(m.GetTypename()):
		return refuse(catalog.ErrInvalid, "%s: the type name %s is Weir's own", what, m.GetTypename())
	case len(m.GetValue()) > functions.MaxValueBytes:
		return refuse(catalog.ErrTooLarge, "%s: a value of %d bytes, the limit is %d; store it elsewhere and send where", what, len(m.GetValue()), functions.MaxValueBytes)
	}
	if err := (functions.Address{Type: m.GetType(), ID: m.GetId()}).Check(); err != nil {
		return refuse(catalog.ErrInvalid, "%s: %w", what, err)
	}
	return nil
}

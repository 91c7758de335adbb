package sdktest

import (
	"bytes"
	"maps"
	"net/http"
	"slices"
	"testing"

	"github.com/weirstream/weir/platform/statefun/endpoint"
	"github.com/weirstream/weir/platform/statefun/wire"
)

// host is the smallest one that there can be: it keeps states and applies replies,
// so that what an SDK says can be looked at by itself.
type host struct {
	t        *testing.T
	endpoint *endpoint.Endpoint
	request  wire.Request
	specs    map[string][]wire.Spec           // by type, as declared
	states   map[string]map[string]wire.Typed // by address, then by name
	reply    wire.Reply                       // the last one, and its bytes
	raw      []byte
}

func newHost(t *testing.T, address string) *host {
	t.Helper()
	e, err := endpoint.New(endpoint.Config{URL: "http://" + address + "/statefun", CallTimeoutMs: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return &host{t: t, endpoint: e, specs: map[string][]wire.Spec{}, states: map[string]map[string]wire.Typed{}}
}

// input is a message that the host delivers.
type input struct {
	caller   *wire.Address
	argument wire.Typed
}

func word(s string) input {
	return input{argument: wire.Typed{Typename: []byte(stringType), Value: []byte(text(s))}}
}

func addressOf(name, id string) wire.Address {
	return wire.Address{Namespace: []byte("com.example"), Type: []byte(name), ID: []byte(id)}
}

// build writes a request with the states that are declared.
func (h *host) build(name, id string, batch ...input) []byte {
	h.request.Begin(addressOf(name, id))
	for _, s := range h.specs[name] {
		if v, ok := h.states[name+"/"+id][s.Name]; ok {
			h.request.State(s.Name, &v)
		} else {
			h.request.State(s.Name, nil)
		}
	}
	for _, in := range batch {
		h.request.Invocation(in.caller, in.argument)
	}
	return bytes.Clone(h.request.Bytes())
}

// once makes a request and reads the reply; nothing is applied.
func (h *host) once(name, id string, batch ...input) error {
	raw, err := h.endpoint.Call(h.t.Context(), name, "", h.build(name, id, batch...))
	if err != nil {
		return err
	}
	h.raw = raw
	return h.reply.Read(raw)
}

// deliver makes a request as often as it takes, and applies what comes of it.
func (h *host) deliver(name, id string, batch ...input) {
	h.t.Helper()
	for range 2 {
		if err := h.once(name, id, batch...); err != nil {
			h.t.Fatalf("%s/%s: %v", name, id, err)
		}
		if !h.reply.Incomplete {
			h.apply(name + "/" + id)
			return
		}
		h.specs[name] = append(h.specs[name], slices.Clone(h.reply.Missing)...)
	}
	h.t.Fatalf("%s/%s: it asks for states again: %+v", name, id, h.reply.Missing)
}

func (h *host) apply(address string) {
	h.t.Helper()
	values := maps.Clone(h.states[address])
	if values == nil {
		values = map[string]wire.Typed{}
	}
	for _, m := range h.reply.Mutations {
		if m.Value == nil {
			delete(values, string(m.Name))
			continue
		}
		values[string(m.Name)] = wire.Typed{Typename: bytes.Clone(m.Value.Typename), Value: bytes.Clone(m.Value.Value)}
	}
	h.states[address] = values
}

// post sends bytes as they are, past the endpoint's judgement.
func post(t *testing.T, address, contentType string, body []byte) (status int, header http.Header, reply []byte) {
	t.Helper()
	resp, err := http.Post("http://"+address+"/statefun", contentType, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	_, _ = b.ReadFrom(resp.Body)
	return resp.StatusCode, resp.Header, b.Bytes()
}

package sdktest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/weirstream/weir/platform/functions"
	"github.com/weirstream/weir/platform/operator/remote"
	"github.com/weirstream/weir/platform/statefun/endpoint"
)

// field writes one of a protobuf message, by hand.
func field(n protowire.Number, parts ...string) string {
	return string(protowire.AppendString(protowire.AppendTag(nil, n, protowire.BytesType), strings.Join(parts, "")))
}

// given is a reply that gives a text to the egress com.example/out.
func given(s string) string {
	return field(100, field(4, field(1, "com.example"), field(2, "out"), field(3, field(1, "t"), "\x10\x01", field(3, s))))
}

func control(id, command string) message {
	return message{typ: "com.example/f", id: id, typename: functions.ControlTypename, value: command}
}

func to(id string) message {
	return message{typ: "com.example/f", id: id, typename: "t", value: "v"}
}

// moody answers for addresses whose id is "bad" as it is told, and well for others.
func moody(t *testing.T, how func(w http.ResponseWriter)) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		switch {
		case strings.Contains(string(b), "\x1a\x03bad"):
			how(w)
		default:
			io.WriteString(w, given("good"))
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func TestAnAddressWhoseCallsFailIsSetAsideAndKeepsNobodyUp(t *testing.T) {
	for what, how := range map[string]func(w http.ResponseWriter){
		"a status that is final": func(w http.ResponseWriter) { http.Error(w, "no such function", 404) },
		"garbage":                func(w http.ResponseWriter) { io.WriteString(w, "<html>oops</html>") },
		"half a reply":           func(w http.ResponseWriter) { io.WriteString(w, given("x")[:5]) },
		"an unknown state": func(w http.ResponseWriter) {
			io.WriteString(w, field(100, field(1, "\x08\x01", field(2, "s"), field(3, field(1, "t")))))
		},
		"a loop of states": func(w http.ResponseWriter) {
			io.WriteString(w, field(101, field(1, field(1, "s"), field(3, "t"))))
		},
	} {
		t.Run(what, func(t *testing.T) {
			var mended atomic.Bool
			srv := moody(t, func(w http.ResponseWriter) {
				if mended.Load() {
					io.WriteString(w, given("mended"))
				} else {
					how(w)
				}
			})
			config := remote.Config{Endpoint: endpoint.Config{URL: srv.URL}}
			s := start(t, config, 1)
			s.world.add(to("bad"), to("bad"), to("g1"), to("g2"))
			s.wait("the others", func() bool { return len(s.world.seen()) == 2 })
			time.Sleep(50 * time.Millisecond)
			s.checkpoint()
			s.crash(config, 2) // what is set aside is state
			s.world.add(to("g3"))
			s.wait("the others after a crash", func() bool { return len(s.world.seen()) == 3 })
			mended.Store(true)
			s.world.add(control("bad", remote.Release))
			s.wait("what was set aside", func() bool { return len(s.world.seen()) == 4 })
			if last := s.world.seen()[3]; last != "mended" {
				t.Errorf("%q", s.world.seen())
			}
		})
	}
}

func TestWhatIsDroppedFromQuarantineIsGone(t *testing.T) {
	srv := moody(t, func(w http.ResponseWriter) { http.Error(w, "no", 400) })
	s := start(t, remote.Config{Endpoint: endpoint.Config{URL: srv.URL}}, 1)
	s.world.add(to("bad"), to("good"))
	s.wait("the other", func() bool { return len(s.world.seen()) == 1 })
	time.Sleep(50 * time.Millisecond)
	s.world.add(control("bad", remote.Drop), control("bad", remote.Release), to("good"))
	s.wait("the other again", func() bool { return len(s.world.seen()) == 2 })
	s.checkpoint()
	s.crash(remote.Config{Endpoint: endpoint.Config{URL: srv.URL}}, 1)
	s.world.add(to("good"))
	s.wait("the other after a crash", func() bool { return len(s.world.seen()) == 3 })
}

func TestAnEndpointThatIsAwayLosesNothingAndIsTriedAgain(t *testing.T) {
	var away atomic.Bool
	away.Store(true)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if away.Load() {
			http.Error(w, "away", 503)
			return
		}
		io.WriteString(w, given("here"))
	}))
	t.Cleanup(srv.Close)
	s := start(t, remote.Config{Endpoint: endpoint.Config{URL: srv.URL, CallTimeoutMs: 200}}, 2)
	for i := range 50 {
		s.world.add(to(fmt.Sprint("id", i)))
	}
	time.Sleep(600 * time.Millisecond) // all of them are set aside by now
	s.checkpoint()
	away.Store(false)
	s.world.add(to("fresh")) // its answer is a sign of life, which ends the quarantine in its task
	s.world.add(to("fresh2"), to("fresh3"), to("fresh4"), to("fresh5"))
	s.wait("everything", func() bool { return len(s.world.seen()) == 55 })
}

func TestARequestUnderWayHoldsNoCheckpointUpAndIsMadeAgain(t *testing.T) {
	var calls atomic.Int32
	keys := make(chan string, 16)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		keys <- r.Header.Get("Idempotency-Key")
		if calls.Add(1) == 1 {
			<-r.Context().Done()
			return
		}
		io.WriteString(w, given("done"))
	}))
	t.Cleanup(srv.Close)
	config := remote.Config{Endpoint: endpoint.Config{URL: srv.URL}}
	s := start(t, config, 1)
	s.world.add(to("a"))
	first := <-keys
	s.checkpoint() // with the request under way
	s.crash(config, 2)
	s.wait("the answer", func() bool { return len(s.world.seen()) == 1 })
	if again := <-keys; again != first || first == "" {
		t.Errorf("the keys are %q and %q", first, again)
	}
}

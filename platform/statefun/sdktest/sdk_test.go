package sdktest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/platform/operator/remote"
	"github.com/weirstream/weir/platform/statefun/endpoint"
)

// text is a StateFun string of fewer than 128 bytes.
func text(s string) string { return "\x0a" + string(rune(len(s))) + s }

const stringType = "io.statefun.types/string"

func name(id, s string) message {
	return message{typ: "com.example/greeter", id: id, typename: stringType, value: text(s)}
}

// conform runs the greeter of an SDK: states that are declared as they are
// needed, messages between functions, replies, delayed messages, cancellation.
func conform(t *testing.T, address string) {
	config := remote.Config{Endpoint: endpoint.Config{URL: "http://" + address + "/statefun"}}
	s := start(t, config, 2)
	s.world.add(name("a", "x"), name("a", "y"), name("b", "z"))
	call := name("a", "called")
	call.callerID = "c1"
	s.world.add(call)
	s.wait("four greetings", func() bool { return len(s.world.seen()) == 5 })
	got := s.world.seen()
	slices.Sort(got)
	if want := text("a called 3"); got[4] != "reply c1: "+want {
		t.Errorf("the reply is %q, want %q", got[4], want)
	}
	// The inbox numbers what comes; each address's greetings come in order.
	numbers := map[string]bool{}
	var a []string
	for _, line := range s.world.seen() {
		if n, rest, ok := strings.Cut(strings.TrimLeft(line, "\x0a"), ": "); ok && !strings.HasPrefix(line, "reply") {
			numbers[n[1:]] = true
			if strings.HasPrefix(rest, "a ") {
				a = append(a, rest)
			}
		}
	}
	if len(numbers) != 4 || !slices.Equal(a, []string{"a x 1", "a y 2", "a called 3"}) {
		t.Errorf("numbers %v, greetings of a %q", numbers, a)
	}

	s.checkpoint()
	s.world.add(name("a", "lost"))
	s.wait("another", func() bool { return len(s.world.seen()) == 6 })
	s.crash(config, 3) // what came after the checkpoint comes again, from the same state
	s.wait("it once more", func() bool { return len(s.world.seen()) == 6 })
	if last := s.world.seen()[5]; !strings.Contains(last, "5: a lost 4") {
		t.Errorf("after the crash %q, want 5: a lost 4", last)
	}

	s.world.add(name("d", "later"), name("e", "later"), name("e", "never"))
	s.wait("the reminder", func() bool { return len(s.world.seen()) == 7 })
	time.Sleep(400 * time.Millisecond) // the other one would be here by now
	if got := s.world.seen(); len(got) != 7 || !strings.Contains(got[6], "d reminded 1") {
		t.Errorf("reminders %q, want d's alone", got[6:])
	}
}

func TestEachSDKRunsUnchangedBehindAStage(t *testing.T) {
	each(t, func(t *testing.T, _ sdk, address string) { conform(t, address) })
}

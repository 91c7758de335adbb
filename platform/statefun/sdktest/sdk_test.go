package sdktest

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirstream/weir/platform/operator/remote"
	"github.com/weirstream/weir/platform/statefun/endpoint"
)

// server starts a program that prints the address it listens on, and gives that.
func server(t testing.TB, dir string, command ...string) string {
	t.Helper()
	c := exec.Command(command[0], command[1:]...)
	c.Dir = dir
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%v: it ended without saying where it listens: %v", command, err)
	}
	return strings.TrimSpace(line)
}

// goServer builds the server with the Go SDK once.
var buildGo = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "weir-sdktest")
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "greeter")
	c := exec.Command("go", "build", "-o", binary, ".")
	c.Dir = "go"
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the server with the Go SDK: %w\n%s", err, out)
	}
	return binary, nil
})

func goServer(t testing.TB) string {
	t.Helper()
	binary, err := buildGo()
	if err != nil {
		t.Fatal(err)
	}
	return server(t, "", binary)
}

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

func TestTheGoSDKRunsUnchanged(t *testing.T) { conform(t, goServer(t)) }

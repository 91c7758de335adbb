package failpoint

import (
	"errors"
	"os"
	"os/exec"
	"testing"
)

func TestAPlaceFailsAtItsNthPassingOnly(t *testing.T) {
	disarm := Fail("here", 3)
	for i := 1; i <= 5; i++ {
		if err := Hit("here"); errors.Is(err, ErrInjected) != (i == 3) {
			t.Errorf("passing %d: %v", i, err)
		}
	}
	if err := Hit("elsewhere"); err != nil {
		t.Error(err)
	}
	disarm()
	if armed.Load() {
		t.Error("still armed")
	}
}

func TestTheEnvironmentKillsAProcessAtTheNthPassing(t *testing.T) {
	if os.Getenv("FAILPOINT_CHILD") == "1" {
		if err := FromEnv(); err != nil {
			os.Exit(3)
		}
		_ = Hit("here")
		os.Stdout.WriteString("one\n")
		_ = Hit("here")
		os.Stdout.WriteString("two\n")
		os.Exit(0)
	}
	run := func(arm string) (string, error) {
		cmd := exec.Command(os.Args[0], "-test.run=^TestTheEnvironmentKillsAProcessAtTheNthPassing$")
		cmd.Env = append(os.Environ(), "FAILPOINT_CHILD=1", EnvVar+"="+arm)
		out, err := cmd.Output()
		return string(out), err
	}
	if out, err := run("here:2:kill"); out != "one\n" || err == nil || err.Error() != "signal: killed" {
		t.Errorf("armed: %q, %v", out, err)
	}
	if out, err := run(""); out != "one\ntwo\n" || err != nil {
		t.Errorf("off: %q, %v", out, err)
	}
	if _, err := run("here:0:kill"); err == nil || err.Error() != "exit status 3" {
		t.Errorf("wrong: %v", err)
	}
}

func BenchmarkAPlaceThatIsOff(b *testing.B) {
	for b.Loop() {
		_ = Hit("here")
	}
}

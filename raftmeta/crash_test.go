package raftmeta

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// crashDir, when set in the environment, makes this test binary the process that is killed.
const crashDir = "WEIR_TEST_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		if err := proposeForever(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// proposeForever creates topics from several goroutines and says each number once it was acknowledged.
func proposeForever(dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	n, err := Open(ctx, Options{NodeID: "a", DataDir: dir, ImageEntries: 50, TrailingLogs: 10, ImageBytes: 20_000})
	if err != nil {
		return err
	}
	if err := n.Ready(ctx); err != nil {
		return err
	}
	first := int(n.View().Revision) * 1000
	var mu sync.Mutex
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			for i := first + g; ctx.Err() == nil; i += 4 {
				if _, err := n.Propose(ctx, topic(i)); err != nil {
					return
				}
				mu.Lock()
				fmt.Println(i)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return nil
}

func TestWhatWasAcknowledgedSurvivesKillMinusNine(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	dir := t.TempDir()
	acked := make(map[int]bool)
	for round := range 6 {
		self := exec.Command(os.Args[0])
		self.Env = append(os.Environ(), crashDir+"="+dir)
		self.Stderr = os.Stderr
		out, err := self.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := self.Start(); err != nil {
			t.Fatal(err)
		}
		// Killed in the middle of proposals: after a number of them, not at a time.
		after := 20 + rng.IntN(400)
		killed := false
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			i, err := strconv.Atoi(strings.TrimSpace(lines.Text()))
			if err != nil {
				break // cut by the kill
			}
			acked[i] = true
			if n == after {
				killed = true
				if err := self.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = self.Wait() // it says that it was killed
		if !killed {
			t.Fatal("the process ended by itself")
		}
		start := time.Now()
		n := alone(t, dir)
		t.Logf("round %d: %d acknowledged, reopened in %v", round, len(acked), time.Since(start))
		state := n.View()
		for i := range acked {
			if _, ok := state.Topic("default", topic(i).Name); !ok {
				t.Fatalf("round %d: topic %d was acknowledged and is gone", round, i)
			}
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

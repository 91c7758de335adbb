package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

func TestThreeVotersStartAndElectOne(t *testing.T) {
	const voters = 3
	var peers []string
	var raft [voters]string
	for i := range raft {
		address, err := freeAddress()
		if err != nil {
			t.Fatal(err)
		}
		raft[i] = address
		peers = append(peers, fmt.Sprintf("n%d=%s", i, address))
	}
	type started struct {
		setup   Setup
		process *Process
		err     error
	}
	all := make(chan started, voters)
	for i := range voters {
		setup, err := NewSetup(built.binary, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		setup.Args = []string{"--node-id", fmt.Sprintf("n%d", i), "--raft-listen", raft[i], "--peers", strings.Join(peers, ",")}
		go func() {
			p, err := setup.Start(t.Context())
			all <- started{setup, p, err}
		}()
	}
	clusters := map[string]bool{}
	var problems []error
	for range voters {
		s := <-all
		if s.process != nil {
			defer s.process.Kill()
		}
		if s.err != nil {
			problems = append(problems, s.err)
			(&world{setup: s.setup}).showLog(t)
			continue
		}
		// The cluster's id is entered by the leader and reaches every voter.
		client := NewClient(s.setup.URL())
		ctx := within(t, 20*time.Second)
		for {
			r, err := client.System.GetVersion(ctx, connect.NewRequest(&weirv1.GetVersionRequest{}))
			if err == nil && r.Msg.ClusterId != "" {
				clusters[r.Msg.ClusterId] = true
				break
			}
			if pause(ctx, pollEvery) != nil {
				problems = append(problems, fmt.Errorf("no cluster id: %v, %w", r, err))
				break
			}
		}
	}
	if len(problems) > 0 || len(clusters) != 1 {
		t.Errorf("three voters: %v; clusters: %v", problems, clusters)
	}
}

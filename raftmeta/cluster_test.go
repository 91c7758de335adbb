package raftmeta

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"
	"time"
)

// cluster opens three voters on real TCP ports of this machine.
func cluster(t *testing.T) []*Node {
	t.Helper()
	var peers []Peer
	for _, id := range []string{"a", "b", "c"} {
		peers = append(peers, Peer{ID: id, Address: freePort(t)})
	}
	var nodes []*Node
	for _, p := range peers {
		nodes = append(nodes, open(t, Options{NodeID: p.ID, DataDir: t.TempDir(), Bind: p.Address, Peers: peers}))
	}
	return nodes
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// write proposes to whoever leads until one takes it.
func write(t *testing.T, ctx context.Context, nodes []*Node, i int) *Node {
	t.Helper()
	for ctx.Err() == nil {
		for _, n := range nodes {
			if !n.Leads() {
				continue
			}
			if _, err := n.Propose(ctx, topic(i)); err == nil {
				return n
			}
		}
		settle(ctx)
	}
	t.Fatal("no node took a write")
	return nil
}

func settle(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(2 * time.Millisecond):
	}
}

func TestThreeVotersElectAnotherLeaderWhenTheirsEndsAndWritesGoOn(t *testing.T) {
	nodes := cluster(t)
	ctx := within(t)
	start := time.Now()
	for _, n := range nodes {
		if err := n.Ready(ctx); err != nil {
			t.Fatal(err)
		}
	}
	leader := write(t, ctx, nodes, 0)
	t.Logf("first write after %v", time.Since(start))
	for _, n := range nodes {
		if n == leader {
			continue
		}
		var to *NotLeaderError
		if _, err := n.Propose(ctx, topic(1)); !errors.As(err, &to) || to.Leader != leader.options.NodeID {
			t.Errorf("a follower answered %v, the leader is %s", err, leader.options.NodeID)
		}
	}
	for i := 1; i < 20; i++ {
		write(t, ctx, nodes, i)
	}
	start = time.Now()
	if err := leader.Close(); err != nil {
		t.Fatal(err)
	}
	rest := slices.DeleteFunc(slices.Clone(nodes), func(n *Node) bool { return n == leader })
	next := write(t, ctx, rest, 20)
	t.Logf("next write %v after the leader ended", time.Since(start))
	if next == leader {
		t.Error("the closed node took a write")
	}
	for ctx.Err() == nil && (rest[0].View().Revision != 21 || rest[1].View().Revision != 21) {
		settle(ctx)
	}
	x, _ := rest[0].Backup()
	y, _ := rest[1].Backup()
	if string(x) != string(y) {
		t.Error("two nodes that applied the same log differ")
	}
	reopened := open(t, leader.options)
	for ctx.Err() == nil && reopened.View().Revision != 21 {
		settle(ctx)
	}
	if ctx.Err() != nil {
		t.Fatal("the old leader did not catch up")
	}
}

func TestANodeJoinsARunningClusterFromItsImage(t *testing.T) {
	ctx := within(t)
	address := freePort(t)
	first := open(t, Options{NodeID: "a", DataDir: t.TempDir(), Bind: address, TrailingLogs: 1})
	if err := first.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		if _, err := first.Propose(ctx, topic(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.Image(ctx); err != nil {
		t.Fatal(err)
	}
	other := freePort(t)
	second := open(t, Options{NodeID: "b", DataDir: t.TempDir(), Bind: other, Start: StartJoin})
	updates := make(chan Update, 100)
	go func() {
		defer close(updates)
		for u := range second.Watch(ctx, 0) {
			updates <- u
			if u.State.Revision == 30 {
				return
			}
		}
	}()
	if err := first.AddVoter(ctx, "b", other); err != nil {
		t.Fatal(err)
	}
	last := Update{}
	for u := range updates {
		last = u
	}
	if last.State == nil || last.State.Revision != 30 {
		t.Fatalf("the new node saw %+v", last)
	}
	members, err := first.Members()
	if err != nil || len(members) != 2 {
		t.Errorf("members %v: %v", members, err)
	}
}

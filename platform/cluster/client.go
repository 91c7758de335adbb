package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/api/weir/v1/weirv1connect"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// LeaderHeader names the leader's URL in the refusal of a controller that does not lead.
const LeaderHeader = "Weir-Leader"

// silence is how long a leader may say nothing before its connection counts as lost.
const silence = 4 * pingEvery

// Client is a Leader over the network. It knows several controllers and asks the
// one that leads.
type Client struct {
	http *http.Client

	mu    sync.Mutex // guards what follows
	urls  []string   // every controller that it has heard of; the first is asked first
	stubs map[string]weirv1connect.ClusterServiceClient
}

// NewClient makes a client that begins with these controllers' URLs.
func NewClient(h *http.Client, urls ...string) *Client {
	c := &Client{http: h, stubs: map[string]weirv1connect.ClusterServiceClient{}}
	for _, u := range urls {
		c.urls = append(c.urls, strings.TrimRight(u, "/"))
	}
	return c
}

// URL is that of the controller that is asked first.
func (c *Client) URL() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.urls[0]
}

// first gives the controller to ask, and how many there are.
func (c *Client) first() (string, weirv1connect.ClusterServiceClient, int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	url := c.urls[0]
	stub := c.stubs[url]
	if stub == nil {
		stub = weirv1connect.NewClusterServiceClient(c.http, url)
		c.stubs[url] = stub
	}
	return url, stub, len(c.urls)
}

// prefer puts a controller first; leader may be empty or the one that failed.
func (c *Client) prefer(failed, leader string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.urls) > 1 && c.urls[0] == failed {
		c.urls = append(c.urls[1:], failed)
	}
	if leader != "" && leader != failed {
		c.urls = append([]string{leader}, slices.DeleteFunc(c.urls, func(u string) bool { return u == leader })...)
	}
}

func (c *Client) learn(urls []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, u := range urls {
		if u != "" && !slices.Contains(c.urls, u) {
			c.urls = append(c.urls, u)
		}
	}
}

// ask calls controllers one after the other until one that leads answers.
func (c *Client) ask(ctx context.Context, call func(weirv1connect.ClusterServiceClient) error) error {
	_, _, count := c.first()
	var err error
	for range count + 1 {
		url, stub, _ := c.first()
		if err = call(stub); err == nil {
			return nil
		}
		err = c.understand(url, err)
		if !errors.Is(err, ErrNotLeader) && connect.CodeOf(err) != connect.CodeUnavailable || ctx.Err() != nil {
			return err
		}
	}
	return err
}

// understand makes of a refusal what it means, and turns to another controller if it names one.
func (c *Client) understand(url string, err error) error {
	var refusal *connect.Error
	if !errors.As(err, &refusal) {
		c.prefer(url, "")
		return err
	}
	switch refusal.Code() {
	case connect.CodeFailedPrecondition:
		if leader, ok := refusal.Meta()[LeaderHeader]; ok {
			c.prefer(url, strings.Join(leader, ""))
			return fmt.Errorf("%w: %s", ErrNotLeader, url)
		}
	case connect.CodeNotFound:
		return fmt.Errorf("%w: %s", ErrUnknownWorker, refusal.Message())
	case connect.CodeAborted:
		return fmt.Errorf("%w: %s", ErrNotConnected, refusal.Message())
	case connect.CodeInvalidArgument, connect.CodePermissionDenied, connect.CodeUnauthenticated, connect.CodeUnimplemented:
		return fmt.Errorf("%w: %s: %s", ErrRefused, url, refusal.Message())
	case connect.CodeUnavailable, connect.CodeDeadlineExceeded:
		c.prefer(url, "")
	}
	return err
}

// About tells what a process has to know before it joins.
func (c *Client) About(ctx context.Context) (out Joined, err error) {
	err = c.ask(ctx, func(s weirv1connect.ClusterServiceClient) error {
		r, err := s.About(ctx, connect.NewRequest(&weirv1.AboutRequest{}))
		if err != nil {
			return err
		}
		if newest := r.Msg.GetNewestProtocol(); newest < OldestProtocol {
			return fmt.Errorf("%w: the controllers of version %s speak protocol %d, this worker speaks %d to %d; upgrade them first",
				ErrRefused, r.Msg.GetVersion(), newest, OldestProtocol, Protocol)
		}
		out = Joined{Cluster: r.Msg.GetClusterId(), Controllers: r.Msg.GetControllers(), NATSURL: r.Msg.GetNatsUrl(), BlobURL: r.Msg.GetBlobUrl(), Strict: r.Msg.GetStrict(), ExchangeKey: r.Msg.GetExchangeKey()}
		return nil
	})
	if err == nil {
		c.learn(out.Controllers)
	}
	return out, err
}

// Join enters a worker.
func (c *Client) Join(ctx context.Context, j Joining) (out Joined, err error) {
	if out, err = c.About(ctx); err != nil {
		return out, err
	}
	err = c.ask(ctx, func(s weirv1connect.ClusterServiceClient) error {
		r, err := s.Join(ctx, connect.NewRequest(&weirv1.JoinRequest{
			Id: j.ID, Address: j.Address, Node: j.Node, Slots: uint32(j.Slots), Version: j.Version, Protocol: uint32(j.Protocol),
		}))
		if err == nil {
			out.Epoch = r.Msg.GetEpoch()
		}
		return err
	})
	return out, err
}

// Follow hears the leader. A leader that is silent for too long counts as gone.
func (c *Client) Follow(parent context.Context, epoch uint64, hear func(Word) error) error {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	url, stub, _ := c.first()
	alarm := time.AfterFunc(silence, cancel)
	defer alarm.Stop()
	stream, err := stub.Follow(ctx, connect.NewRequest(&weirv1.FollowRequest{Epoch: epoch}))
	if err != nil {
		return c.understand(url, err)
	}
	defer stream.Close()
	for stream.Receive() {
		alarm.Reset(silence)
		w, err := wordOf(stream.Msg())
		if err != nil {
			return err
		}
		if err := hear(w); err != nil {
			return err
		}
	}
	if err := stream.Err(); err != nil && parent.Err() == nil {
		return c.understand(url, err)
	}
	return parent.Err()
}

// Report sends a report to the leader that is followed.
func (c *Client) Report(ctx context.Context, r Report) error {
	m, err := reportMessage(r)
	if err != nil {
		return err
	}
	url, stub, _ := c.first()
	if _, err = stub.Report(ctx, connect.NewRequest(m)); err != nil {
		return c.understand(url, err)
	}
	return nil
}

// Drain asks that the worker's tasks are given to others.
func (c *Client) Drain(ctx context.Context, epoch uint64) error {
	return c.ask(ctx, func(s weirv1connect.ClusterServiceClient) error {
		_, err := s.Drain(ctx, connect.NewRequest(&weirv1.DrainRequest{Epoch: epoch}))
		return err
	})
}

// Leave ends the registration.
func (c *Client) Leave(ctx context.Context, epoch uint64, reason string) error {
	return c.ask(ctx, func(s weirv1connect.ClusterServiceClient) error {
		_, err := s.Leave(ctx, connect.NewRequest(&weirv1.LeaveRequest{Epoch: epoch, Reason: reason}))
		return err
	})
}

// Announce enters a controller's addresses.
func (c *Client) Announce(ctx context.Context, n catalog.PutNode) error {
	return c.ask(ctx, func(s weirv1connect.ClusterServiceClient) error {
		_, err := s.Announce(ctx, connect.NewRequest(&weirv1.AnnounceRequest{Id: n.ID, RaftAddress: n.RaftAddress, HttpAddress: n.HTTPAddress, Version: n.Version}))
		return err
	})
}

// FindTopic looks a topic up; catalog.ErrNotFound if there is none.
func (c *Client) FindTopic(ctx context.Context, namespace, name string) (*catalog.Topic, error) {
	t := &catalog.Topic{}
	err := c.ask(ctx, func(s weirv1connect.ClusterServiceClient) error {
		r, err := s.FindTopic(ctx, connect.NewRequest(&weirv1.FindTopicRequest{Namespace: namespace, Name: name}))
		if err != nil {
			return err
		}
		return json.Unmarshal(r.Msg.GetTopic(), t)
	})
	if errors.Is(err, ErrUnknownWorker) { // the code of what is not there
		return nil, fmt.Errorf("topic %s in namespace %s: %w", name, namespace, catalog.ErrNotFound)
	}
	return t, err
}

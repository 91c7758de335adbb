package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/weirstream/weir/platform/auth"
	"github.com/weirstream/weir/platform/cluster"
	"github.com/weirstream/weir/platform/embednats"
	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/blob/fileblob"
	"github.com/weirstream/weir/platform/upgrade"
)

// Limits of what this process asks of controllers.
const (
	askRetry        = 200 * time.Millisecond
	idleConnections = 4
)

// natsPath is where a controller with an embedded NATS takes its cluster's
// connections to it, by an upgrade to natsProtocol.
const (
	natsPath     = auth.InternalPath + "nats"
	natsProtocol = "weir-nats"
)

// reach makes the way to the controllers, unless this process is the only one.
func (s *Server) reach() {
	h := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: idleConnections, DialContext: (&net.Dialer{Timeout: upgrade.DialLimit}).DialContext}}
	switch {
	case !s.options.has(RoleController):
		s.client = cluster.NewClient(h, s.options.Join...)
	case len(s.options.RaftPeers) > 1 || s.options.RaftListen != "":
		s.client = cluster.NewClient(h, "http://"+s.address())
	}
}

// ask learns from the controllers where log and objects are, and waits for one that leads.
func (s *Server) ask(ctx context.Context) error {
	for {
		about, err := s.client.About(ctx)
		if err == nil {
			s.about = about
			if s.options.NATSURL == "" {
				s.options.NATSURL = about.NATSURL
			}
			return nil
		}
		if errors.Is(err, cluster.ErrRefused) {
			return err
		}
		select {
		case <-time.After(askRetry):
		case <-ctx.Done():
			return fmt.Errorf("no controller at %s has answered within %s: %w; is a server running there, and is this its API's address?", strings.Join(s.options.Join, ", "), startLimit, err)
		}
	}
}

// reachNATS connects to the embedded NATS of the controller, through its API's port.
func (s *Server) reachNATS() (*nats.Conn, error) {
	conn, err := nats.Connect("nats://weir", nats.SetCustomDialer(&natsDialer{s}), nats.Name("weir"), nats.MaxReconnects(-1), nats.SkipHostLookup())
	if err != nil {
		return nil, fmt.Errorf("connect to the log through the controller: %w", err)
	}
	return conn, nil
}

// natsDialer dials whatever controller is known to lead.
type natsDialer struct{ s *Server }

// Dial opens a tunnel; the address is of no account.
func (d *natsDialer) Dial(string, string) (net.Conn, error) {
	return upgrade.Dial(context.Background(), upgrade.Target{URL: d.s.client.URL() + natsPath, Protocol: natsProtocol})
}

// tunnelNATS serves such connections.
func (s *Server) tunnelNATS(w http.ResponseWriter, r *http.Request) {
	inside, err := s.nats.Pipe()
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	outside, err := upgrade.Accept(w, r, natsProtocol)
	if err != nil {
		_ = inside.Close()
		return
	}
	embednats.Join(inside, outside)
}

// reachBlobs opens the objects where the controllers say that they are.
func (s *Server) reachBlobs() (blob.Store, error) {
	dir, ok := strings.CutPrefix(s.about.BlobURL, "file://")
	if !ok {
		return nil, fmt.Errorf("the controllers keep objects at %s, which this version does not reach", s.about.BlobURL)
	}
	mark, err := os.ReadFile(filepath.Join(dir, markName))
	if err != nil || string(mark) != s.about.Cluster {
		return nil, fmt.Errorf("the controllers keep objects in the folder %s of their machine, which is not here: mount it, or give the controllers a store that all reach", dir)
	}
	sync := fileblob.SyncNever
	if s.about.Strict {
		sync = fileblob.SyncAlways
	}
	return fileblob.Open(dir, fileblob.Options{Sync: sync})
}

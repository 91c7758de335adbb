package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// Member is a process of a cluster, which lives several times.
type Member struct {
	Name    string
	Binary  string
	Args    []string
	Env     []string // of every life
	Log     string   // file that all its lives write to
	process *Process
	stopped bool // by SIGSTOP
}

// Start begins a life. With ErrDied it ended before it was ready.
func (m *Member) Start(ctx context.Context, env ...string) error {
	log, err := os.OpenFile(m.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own
	fmt.Fprintf(log, "--- start %s %v %v\n", time.Now().UTC().Format("15:04:05.000"), m.Args, env)
	cmd := exec.Command(m.Binary, m.Args...)
	cmd.Env = append(append(os.Environ(), m.Env...), env...)
	p, err := launch(ctx, cmd, log)
	m.process, m.stopped = p, false
	if err != nil {
		return fmt.Errorf("start %s: %w", m.Name, err)
	}
	return nil
}

// Up tells whether it lives.
func (m *Member) Up() bool {
	if m.process == nil {
		return false
	}
	select {
	case <-m.process.Ended():
		return false
	default:
		return true
	}
}

// PID is its process; 0 if there is none.
func (m *Member) PID() int {
	if m.process == nil {
		return 0
	}
	return m.process.PID()
}

// Flag is the value of one of its flags; empty if it has no such flag.
func (m *Member) Flag(name string) string {
	if i := slices.Index(m.Args, name); i >= 0 && i+1 < len(m.Args) {
		return m.Args[i+1]
	}
	return ""
}

// Kill ends it as kill -9 does.
func (m *Member) Kill() {
	if m.process != nil {
		m.process.Kill()
	}
}

// Suspend stops it as Ctrl-Z does, and Continue lets it go on.
func (m *Member) Suspend() error {
	m.stopped = true
	return m.process.Signal(syscall.SIGSTOP)
}

// Continue lets a suspended process go on.
func (m *Member) Continue() error {
	if !m.stopped || !m.Up() {
		return nil
	}
	m.stopped = false
	return m.process.Signal(syscall.SIGCONT)
}

// Stop ends it in order.
func (m *Member) Stop() error {
	if err := m.Continue(); err != nil {
		return err
	}
	if err := m.process.Stop(); err != nil {
		return fmt.Errorf("stop %s: %w; see %s", m.Name, err, m.Log)
	}
	return nil
}

// Cluster is a log, controllers and workers, each a process of its own.
type Cluster struct {
	Dir         string
	NATSURL     string
	Log         *Member // a server whose NATS is all that is used of it
	Controllers []*Member
	Workers     []*Member
	URLs        []string // of the controllers
}

// ClusterSetup says how large a cluster is.
type ClusterSetup struct {
	Binary               string
	Dir                  string
	Controllers, Workers int
	Slots                int
	BlobDir              string
	WorkerArgs           []string
}

// NewCluster makes the members; none of them lives yet.
func NewCluster(s ClusterSetup) (*Cluster, error) {
	c := &Cluster{Dir: s.Dir}
	member := func(name string, args ...string) *Member {
		args = append(args, "--data-dir", filepath.Join(s.Dir, name), "--log-level", "info")
		return &Member{Name: name, Binary: s.Binary, Args: args, Log: filepath.Join(s.Dir, name+".log")}
	}
	address := func() string {
		a, err := freeAddress()
		if err != nil {
			panic(err) // no port on loopback is free: nothing can be tested
		}
		return a
	}
	if err := os.MkdirAll(s.BlobDir, 0o755); err != nil {
		return nil, err
	}
	nats := address()
	c.NATSURL = "nats://" + nats
	c.Log = member("log", "server", "--role", "controller", "--listen", address(), "--nats-listen", nats)
	var raft, listen []string
	for range s.Controllers {
		raft, listen = append(raft, address()), append(listen, address())
		c.URLs = append(c.URLs, "http://"+listen[len(listen)-1])
	}
	for i := range s.Controllers {
		args := []string{"server", "--role", "controller,gateway", "--listen", listen[i], "--nats", c.NATSURL, "--blob", "file://" + s.BlobDir}
		if s.Controllers > 1 {
			args = append(args, "--raft-listen", raft[i], "--peers", join(raft))
		}
		c.Controllers = append(c.Controllers, member(fmt.Sprintf("controller-%d", i+1), args...))
	}
	for i := range s.Workers {
		args := []string{"worker", "--join", join(c.URLs), "--slots", fmt.Sprint(s.Slots), "--listen", address(), "--drain-timeout", "5s"}
		c.Workers = append(c.Workers, member(fmt.Sprintf("worker-%d", i+1), append(args, s.WorkerArgs...)...))
	}
	return c, nil
}

func join(list []string) string {
	text := ""
	for i, s := range list {
		if i > 0 {
			text += ","
		}
		text += s
	}
	return text
}

// Start brings everybody up: the log first, controllers beside each other, since
// they need a majority, then workers.
func (c *Cluster) Start(ctx context.Context) error {
	if err := c.Log.Start(ctx); err != nil {
		return err
	}
	if err := startAll(ctx, c.Controllers); err != nil {
		return err
	}
	return startAll(ctx, c.Workers)
}

func startAll(ctx context.Context, members []*Member) error {
	errs := make([]error, len(members))
	done := make(chan struct{})
	for i, m := range members {
		go func() {
			if !m.Up() {
				errs[i] = m.Start(ctx)
			}
			done <- struct{}{}
		}()
	}
	for range members {
		<-done
	}
	return errors.Join(errs...)
}

// Members lists all.
func (c *Cluster) Members() []*Member {
	return append(append([]*Member{c.Log}, c.Controllers...), c.Workers...)
}

// Kill ends everybody.
func (c *Cluster) Kill() {
	for _, m := range c.Members() {
		m.Kill()
	}
}

// Stop ends everybody in order: workers, controllers, the log.
func (c *Cluster) Stop() error {
	var errs []error
	for _, group := range [][]*Member{c.Workers, c.Controllers, {c.Log}} {
		for _, m := range group {
			errs = append(errs, m.Stop())
		}
	}
	return errors.Join(errs...)
}

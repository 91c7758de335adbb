// Package e2e runs real weir processes and holds what they write against
// models: it starts and kills them, feeds topics exactly once, reads streams and
// checkpoints back byte by byte. It speaks to a server as a user does, by the
// API, the command line and plain NATS. It must not know how a server is built.
package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Limits of a process's life.
const (
	readyLimit = 60 * time.Second // shared machines are slow; the process is usually ready in a fraction of a second
	stopLimit  = 60 * time.Second
)

// ErrDied says that the process ended before it was ready, as a failpoint asks.
var ErrDied = errors.New("the server ended before it was ready")

// Setup says how servers of one test are started. All runs share the ports, so
// that clients find the next process by reconnecting.
type Setup struct {
	Binary     string
	Dir        string // holds data/ and server.log
	Listen     string
	NATSListen string   // empty: none, as with an existing NATS
	Args       []string // more flags
}

// NewSetup picks free ports and a folder of data.
func NewSetup(binary, dir string) (Setup, error) {
	s := Setup{Binary: binary, Dir: dir}
	var err error
	if s.Listen, err = freeAddress(); err != nil {
		return s, err
	}
	s.NATSListen, err = freeAddress()
	return s, err
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().String(), l.Close()
}

// DataDir is the server's data directory.
func (s Setup) DataDir() string { return filepath.Join(s.Dir, "data") }

// BlobDir is where the server keeps files of checkpoints.
func (s Setup) BlobDir() string { return filepath.Join(s.DataDir(), "blobs") }

// LogPath is where all processes' logs go, one after the other.
func (s Setup) LogPath() string { return filepath.Join(s.Dir, "server.log") }

// URL is where the API answers.
func (s Setup) URL() string { return "http://" + s.Listen }

// NATSURL is where plain clients connect.
func (s Setup) NATSURL() string { return "nats://" + s.NATSListen }

// Process is a running server.
type Process struct {
	cmd     *exec.Cmd
	Started time.Time
	Ready   time.Duration // from start to the ready line
	ended   chan struct{} // closed when the process is gone
	err     error         // how it ended; read after ended
}

// PID is the number of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Start starts a server and waits until it is ready. Env are more variables of
// its environment. With ErrDied the process is returned too.
func (s Setup) Start(ctx context.Context, env ...string) (*Process, error) {
	log, err := os.OpenFile(s.LogPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own
	args := append([]string{"server", "--data-dir", s.DataDir(), "--listen", s.Listen}, s.Args...)
	if s.NATSListen != "" {
		args = append(args, "--nats-listen", s.NATSListen)
	}
	cmd := exec.Command(s.Binary, args...)
	cmd.Env = append(os.Environ(), env...)
	fmt.Fprintf(log, "--- start %s\n", strings.Join(env, " "))
	return launch(ctx, cmd, log)
}

// launch starts a process and waits for the line that says it is ready. With
// ErrDied the process is returned too.
func launch(ctx context.Context, cmd *exec.Cmd, log *os.File) (*Process, error) {
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p := &Process{cmd: cmd, Started: time.Now(), ended: make(chan struct{})}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd, err)
	}
	ready := make(chan string, 1)
	go func() {
		defer close(p.ended)
		lines := bufio.NewReader(out)
		line, _ := lines.ReadString('\n') // a process that ends without a line is found below
		ready <- line
		_, _ = io.Copy(io.Discard, lines)
		p.err = cmd.Wait()
	}()
	select {
	case line := <-ready:
		if strings.Contains(line, "ready") {
			p.Ready = time.Since(p.Started)
			return p, nil
		}
		<-p.ended
		return p, fmt.Errorf("%w: %w; see %s", ErrDied, orNil(p.err), log.Name())
	case <-time.After(readyLimit):
		p.Kill()
		return nil, fmt.Errorf("the process was not ready within %s; see %s", readyLimit, log.Name())
	case <-ctx.Done():
		p.Kill()
		return nil, context.Cause(ctx)
	}
}

func orNil(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// Ended is closed when the process is gone.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Killed tells whether the process, which has ended, was killed as kill -9 does.
func (p *Process) Killed() bool {
	var exit *exec.ExitError
	if !errors.As(p.err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// Kill ends the process as kill -9 does and waits until it is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // gone already is as good
	<-p.ended
}

// Signal sends a signal, SIGSTOP for instance.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Stop ends the process in order; another exit code than 0 is an error.
func (p *Process) Stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		<-p.ended
		return fmt.Errorf("stop the server: it had ended by itself: %w", orNil(p.err))
	}
	select {
	case <-p.ended:
		if p.err != nil {
			return fmt.Errorf("stop the server: %w", p.err)
		}
		return nil
	case <-time.After(stopLimit):
		p.Kill()
		return fmt.Errorf("the server did not stop within %s", stopLimit)
	}
}

// Weir runs a command of the command line against the server.
func (s Setup) Weir(ctx context.Context, stdin io.Reader, args ...string) (stdout string, err error) {
	cmd := exec.CommandContext(ctx, s.Binary, args...)
	cmd.Env = append(os.Environ(), "WEIR_SERVER="+s.URL())
	cmd.Stdin = stdin
	var out, problems strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("weir %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(problems.String()))
	}
	return out.String(), nil
}

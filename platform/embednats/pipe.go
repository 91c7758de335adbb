package embednats

import (
	"fmt"
	"io"
	"net"
	"sync"
)

// Pipe opens a raw connection to the server inside the process, for whoever
// carries it on to a client elsewhere.
func (s *Server) Pipe() (net.Conn, error) {
	conn, err := s.server.InProcessConn()
	if err != nil {
		return nil, fmt.Errorf("open a pipe to the embedded nats server: %w", err)
	}
	return conn, nil
}

// Join copies between two connections until either ends, and closes both.
func Join(a, b net.Conn) {
	var copies sync.WaitGroup
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		copies.Go(func() {
			_, _ = io.Copy(way[0], way[1]) // whichever way it ends, the other side ends too
			_ = a.Close()
			_ = b.Close()
		})
	}
	copies.Wait()
}

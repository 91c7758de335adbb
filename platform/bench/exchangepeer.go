package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/runtime/exchange/local"
	"github.com/weirstream/weir/platform/runtime/exchange/remote"
)

// peer is the receiving process, which is told on its input what comes.
type peer struct {
	process *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Scanner
	attempt uint64

	address, bare, secure string
	trusted               *x509.CertPool // of the secure address
}

func startPeer(ctx context.Context) (*peer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &peer{process: exec.CommandContext(ctx, self, "-only", "exchange")}
	p.process.Env = append(os.Environ(), exchangePeer+"=1")
	p.process.Stderr = os.Stderr
	if p.in, err = p.process.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := p.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewScanner(stdout)
	if err := p.process.Start(); err != nil {
		return nil, err
	}
	line, err := p.answer()
	if err != nil {
		return nil, err
	}
	var encoded string
	if _, err := fmt.Sscan(line, &p.address, &p.bare, &p.secure, &encoded); err != nil {
		return nil, err
	}
	der, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	p.trusted = x509.NewCertPool()
	p.trusted.AddCert(cert)
	return p, nil
}

// selfSigned makes a certificate for 127.0.0.1 that this run alone trusts.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

func (p *peer) stop() error { return errors.Join(p.in.Close(), p.process.Wait()) }

func (p *peer) ask(format string, args ...any) (string, error) {
	if _, err := fmt.Fprintf(p.in, format+"\n", args...); err != nil {
		return "", err
	}
	return p.answer()
}

func (p *peer) answer() (string, error) {
	for p.out.Scan() {
		if rest, ok := strings.CutPrefix(p.out.Text(), peerSays); ok {
			return rest, nil
		}
	}
	return "", errors.Join(errors.New("the receiving process has ended"), p.out.Err())
}

// result waits until everything has arrived, and gives the receiver's processor time.
func (p *peer) result(want int) (took time.Duration, err error) {
	line, err := p.answer()
	if err != nil {
		return 0, err
	}
	got := 0
	if _, err := fmt.Sscan(line, &got, (*int64)(&took)); err != nil {
		return 0, fmt.Errorf("the receiving process says %q: %w", line, err)
	}
	if got != want {
		return 0, fmt.Errorf("the receiving process got %d of %d", got, want)
	}
	return took, nil
}

// receiveExchange is the other process.
func receiveExchange(ctx context.Context) error {
	var listeners [3]net.Listener
	for i := range listeners {
		var err error
		if listeners[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return err
		}
	}
	front, bare, secure := listeners[0], listeners[1], listeners[2]
	cert, err := selfSigned()
	if err != nil {
		return err
	}
	hub := remote.NewHub(remote.Options{Log: slog.Default(), Self: func() uint64 { return peerEpoch }})
	server := &http.Server{Handler: hub, BaseContext: func(net.Listener) context.Context { return ctx }}
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13}
	go func() { _ = server.Serve(front) }()
	go func() { _ = server.ServeTLS(secure, "", "") }()
	fmt.Println(peerSays, front.Addr(), bare.Addr(), secure.Addr(), base64.StdEncoding.EncodeToString(cert.Certificate[0]))
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var what string
		var n int
		if _, err := fmt.Sscan(lines.Text(), &what, &n); err != nil {
			return err
		}
		busy := cpu()
		var got int
		if what == "open" {
			got, err = receiveRemote(hub, uint64(n))
		} else {
			got, err = receiveBare(bare, n)
		}
		if err != nil {
			return err
		}
		fmt.Println(peerSays, got, int64(cpu()-busy))
	}
	hub.Close()
	return server.Close()
}

func receiveRemote(hub *remote.Hub, attempt uint64) (int, error) {
	in := local.NewInbox(exchangeChannels)
	inlets := map[remote.Channel]remote.Inlet{}
	for c := range exchangeChannels {
		inlets[remote.Channel{Number: c}] = remote.Inlet{Inbox: in, Schema: schema.MustParse(exchangeSchema)}
	}
	failed := make(chan error, 1)
	end := hub.Open(remote.Attempt{UID: "bench", Attempt: attempt}, inlets, func(err error) { failed <- err })
	fmt.Println(peerSays, "ready")
	got := make(chan int, 1)
	go func() { got <- drain(in) }()
	select {
	case rows := <-got:
		defer end()
		return rows, nil
	case err := <-failed:
		return 0, err
	}
}

func receiveBare(l net.Listener, size int) (got int, err error) {
	fmt.Println(peerSays, "ready")
	conn, err := l.Accept()
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	buf := make([]byte, size)
	for {
		n, err := conn.Read(buf)
		got += n
		if errors.Is(err, io.EOF) {
			return got, nil
		}
		if err != nil {
			return got, err
		}
	}
}

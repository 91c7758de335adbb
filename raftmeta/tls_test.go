package raftmeta

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"os"
	"testing"
	"time"
)

// selfSigned is a certificate for 127.0.0.1 that is its own authority.
func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// mutual is TLS in which both sides show own and trust trusted.
func mutual(own, trusted tls.Certificate) *TLS {
	pool := x509.NewCertPool()
	pool.AddCert(trusted.Leaf)
	server := &tls.Config{Certificates: []tls.Certificate{own}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, MinVersion: tls.VersionTLS12}
	client := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own, nil }}
	return &TLS{Server: server, Dial: (&tls.Dialer{Config: client}).DialContext}
}

func TestThreeVotersOverTLSAgreeAndAStrangerIsNotHeard(t *testing.T) {
	ours, theirs := selfSigned(t), selfSigned(t)
	var peers []Peer
	for _, id := range []string{"a", "b", "c"} {
		peers = append(peers, Peer{ID: id, Address: freePort(t)})
	}
	var nodes []*Node
	for _, p := range peers {
		nodes = append(nodes, open(t, Options{NodeID: p.ID, DataDir: t.TempDir(), Bind: p.Address, Peers: peers, TLS: mutual(ours, ours)}))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	write(t, ctx, nodes, 1)
	for name, dial := range map[string]func(context.Context, string, string) (net.Conn, error){
		"a stranger": mutual(theirs, ours).Dial, "who speaks no TLS": new(net.Dialer).DialContext,
	} {
		conn, err := dial(ctx, "tcp", peers[0].Address)
		if err != nil {
			continue
		}
		// The verdict on a caller's certificate comes after the handshake: with it the
		// connection ends, where one that is heard would stay open for its first message.
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		if name == "who speaks no TLS" {
			_, _ = conn.Write([]byte("hello, this is no frame of TLS"))
		}
		if _, err := conn.Read(make([]byte, 1)); err == nil && name == "a stranger" || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s is heard: %v", name, err)
		}
		_ = conn.Close()
	}
	if _, err := mutual(ours, theirs).Dial(ctx, "tcp", peers[0].Address); err == nil {
		t.Error("a voter is trusted by who does not know its authority")
	}
}

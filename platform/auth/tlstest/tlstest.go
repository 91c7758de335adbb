// Package tlstest makes authorities and certificates for tests, in files. It must
// not know what they are for.
package tlstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority signs certificates.
type Authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	dir  string
	// File has its certificate.
	File string
}

// NewAuthority makes an authority whose file is in a folder of the test.
func NewAuthority(t testing.TB, name string) *Authority {
	t.Helper()
	a := &Authority{t: t, dir: t.TempDir()}
	a.key = a.newKey()
	template := &x509.Certificate{
		SerialNumber: a.serial(), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	a.must(err)
	a.cert, err = x509.ParseCertificate(der)
	a.must(err)
	a.File = filepath.Join(a.dir, name+".pem")
	a.write(a.File, "CERTIFICATE", der)
	return a
}

// Issue writes a certificate for servers and clients on 127.0.0.1 and localhost,
// good until a time, and its key, into cert and key.
func (a *Authority) Issue(cert, key string, until time.Time) {
	a.t.Helper()
	k := a.newKey()
	template := &x509.Certificate{
		SerialNumber: a.serial(), Subject: pkix.Name{CommonName: "weir"}, NotBefore: until.Add(-48 * time.Hour), NotAfter: until,
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &k.PublicKey, a.key)
	a.must(err)
	a.write(cert, "CERTIFICATE", der)
	der, err = x509.MarshalPKCS8PrivateKey(k)
	a.must(err)
	a.write(key, "PRIVATE KEY", der)
}

// Pair issues a certificate into new files.
func (a *Authority) Pair(until time.Time) (cert, key string) {
	a.t.Helper()
	dir, err := os.MkdirTemp(a.dir, "pair")
	a.must(err)
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	a.Issue(cert, key, until)
	return cert, key
}

func (a *Authority) newKey() *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	a.must(err)
	return k
}

func (a *Authority) serial() *big.Int {
	n, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	a.must(err)
	return n
}

func (a *Authority) write(file, kind string, der []byte) {
	a.must(os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}

func (a *Authority) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

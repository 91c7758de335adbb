package upgrade_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/weirstream/weir/platform/upgrade"
)

// echo answers lines in upper case.
func echo(t *testing.T) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := upgrade.Accept(w, r, "shout")
		if err != nil {
			return
		}
		defer conn.Close()
		lines := bufio.NewScanner(conn)
		for lines.Scan() {
			if _, err := fmt.Fprintln(conn, strings.ToUpper(lines.Text())); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestAConnectionIsOpenedBothWays(t *testing.T) {
	front := httptest.NewServer(echo(t))
	defer front.Close()
	conn, err := upgrade.Dial(t.Context(), upgrade.Target{URL: front.URL + "/x", Protocol: "shout"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answers := bufio.NewReader(conn)
	for _, word := range []string{"one", "two"} {
		if _, err := fmt.Fprintln(conn, word); err != nil {
			t.Fatal(err)
		}
		if got, err := answers.ReadString('\n'); err != nil || got != strings.ToUpper(word)+"\n" {
			t.Fatalf("%q, %v", got, err)
		}
	}
}

func TestARefusalSaysWhy(t *testing.T) {
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no token", http.StatusUnauthorized)
	}))
	defer front.Close()
	_, err := upgrade.Dial(t.Context(), upgrade.Target{URL: front.URL, Protocol: "shout"})
	var refused *upgrade.RefusedError
	if !errors.As(err, &refused) || refused.Status != http.StatusUnauthorized || !strings.Contains(refused.Text, "no token") {
		t.Errorf("%v", err)
	}
}

func TestAnotherProtocolIsRefused(t *testing.T) {
	front := httptest.NewServer(echo(t))
	defer front.Close()
	_, err := upgrade.Dial(t.Context(), upgrade.Target{URL: front.URL, Protocol: "whisper"})
	var refused *upgrade.RefusedError
	if !errors.As(err, &refused) || refused.Status != http.StatusUpgradeRequired {
		t.Errorf("%v", err)
	}
}

func TestASilentServerIsGivenUpWithTheContext(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err == nil {
			defer conn.Close()
			_, _ = io.Copy(io.Discard, conn)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := upgrade.Dial(ctx, upgrade.Target{URL: "http://" + l.Addr().String(), Protocol: "shout"}); err == nil {
		t.Error("it answered")
	}
}

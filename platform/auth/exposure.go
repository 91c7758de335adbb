package auth

import (
	"fmt"
	"net"
)

// Mode says whether a server asks for tokens.
type Mode string

// The modes. Without one the address decides.
const (
	ModeAuto Mode = ""
	ModeOn   Mode = "on"
	ModeOff  Mode = "off"
)

// Exposed tells whether others than this machine may reach an address.
func Exposed(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil || host == "localhost" {
		return false // the server refuses what is no address
	}
	ip := net.ParseIP(host) // none: a name, or every interface
	return ip == nil || !ip.IsLoopback()
}

// Protection is what a server was told of its HTTP port.
type Protection struct {
	Listen string
	Mode   Mode
	TLS    bool
	// PlainHTTP accepts an open port without TLS: a proxy before it has it, or the network is trusted.
	PlainHTTP bool
}

// Decide tells whether the server asks for tokens, or refuses to be open without protection.
func (p Protection) Decide() (on bool, err error) {
	switch p.Mode {
	case ModeAuto, ModeOn, ModeOff:
	default:
		return false, &Refusal{ErrExposed, fmt.Sprintf("there is no --auth %s", p.Mode), "write --auth on or --auth off"}
	}
	if !Exposed(p.Listen) {
		return p.Mode == ModeOn, nil
	}
	if p.Mode != ModeOn {
		return false, &Refusal{ErrExposed, fmt.Sprintf("--listen %s is open to the network, where whoever reaches it could do everything", p.Listen),
			"add --auth on (the first token is written to admin.token in the data folder), or listen on 127.0.0.1"}
	}
	if !p.TLS && !p.PlainHTTP {
		return false, &Refusal{ErrExposed, fmt.Sprintf("--listen %s is open to the network without TLS, where tokens could be read on the way", p.Listen),
			"add --tls-cert and --tls-key, or --plain-http if a proxy before it speaks TLS"}
	}
	return true, nil
}

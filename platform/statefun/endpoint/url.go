package endpoint

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// NamePlaceholder is replaced by a function's name in a URL.
const NamePlaceholder = "{function.name}"

// template is a URL with the placeholder in it.
type template struct {
	text   string // without what says that the server is at a socket
	socket string // empty: at the host
	tls    bool
}

const unixSuffix = "+unix"

func parse(text string) (template, error) {
	// A placeholder is no part of a URL's grammar.
	u, err := url.Parse(strings.ReplaceAll(text, NamePlaceholder, "x"))
	switch {
	case err != nil:
		var e *url.Error
		if errors.As(err, &e) {
			err = e.Err // the rest repeats the URL
		}
		return template{}, err
	case strings.ContainsAny(u.Path+u.Host+u.RawQuery, "{}"):
		return template{}, fmt.Errorf("the only placeholder is %s", NamePlaceholder)
	case u.User != nil:
		return template{}, errors.New("a user or a password does not belong here")
	}
	switch u.Scheme {
	case "http", "https":
		if u.Host == "" {
			return template{}, errors.New("it has no host")
		}
		return template{text: text, tls: u.Scheme == "https"}, nil
	case "http" + unixSuffix, "https" + unixSuffix:
		return parseSocket(text, u)
	}
	return template{}, errors.New("the scheme is http, https, http+unix or https+unix")
}

func parseSocket(text string, u *url.URL) (template, error) {
	scheme := strings.TrimSuffix(u.Scheme, unixSuffix)
	_, path, _ := strings.Cut(text, "://")
	path, query, hasQuery := strings.Cut(path, "?")
	if u.Host != "" {
		return template{}, fmt.Errorf("the path of a socket is absolute: write %s%s:///%s", scheme, unixSuffix, path)
	}
	socket, rest, err := splitSocket(path)
	if err != nil {
		return template{}, err
	}
	if strings.Contains(socket, NamePlaceholder) {
		return template{}, fmt.Errorf("%s cannot stand in the path of a socket", NamePlaceholder)
	}
	if socket, err = url.PathUnescape(socket); err != nil {
		return template{}, err
	}
	t := template{text: scheme + "://localhost" + rest, socket: socket, tls: scheme == "https"}
	if hasQuery {
		t.text += "?" + query
	}
	return t, nil
}

// splitSocket parts a path into that of a socket and that of the request.
func splitSocket(path string) (socket, rest string, err error) {
	for at := 1; at <= len(path); at++ {
		if at < len(path) && path[at] != '/' {
			continue
		}
		if strings.HasSuffix(path[:at], ".sock") {
			return path[:at], path[at:], nil
		}
	}
	if path == "" || path == "/" {
		return "", "", errors.New("it has no path of a socket")
	}
	return path, "", nil
}

// target is the URL for a function. What a name has that means something in a URL
// is escaped, wherever in it the name stands.
func (t template) target(function string) string {
	if !strings.Contains(t.text, NamePlaceholder) {
		return t.text
	}
	escaped := strings.ReplaceAll(url.QueryEscape(function), "+", "%20")
	return strings.ReplaceAll(t.text, NamePlaceholder, escaped)
}

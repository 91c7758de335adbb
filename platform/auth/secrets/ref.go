package secrets

import (
	"fmt"
	"strings"
)

// A reference is ${secret:NAME} in a file, and ${secret:NAMESPACE/NAME} in a graph,
// which knows no namespace of its own.
const (
	refBegin = "${secret:"
	refEnd   = "}"
)

// HasRef tells whether a text refers to a secret.
func HasRef(text string) bool { return strings.Contains(text, refBegin) }

// Qualify puts the namespace into a file's references and lists the names.
func Qualify(text, namespace string) (qualified string, names []string, err error) {
	qualified, err = replace(text, func(name string) (string, error) {
		if name == "" || strings.ContainsAny(name, "/${}") {
			return "", fmt.Errorf("%q is no name of a secret: write %sNAME%s; a secret belongs to the pipeline's namespace", name, refBegin, refEnd)
		}
		names = append(names, name)
		return refBegin + namespace + "/" + name + refEnd, nil
	})
	return qualified, names, err
}

// Expand replaces a graph's references by the values.
func Expand(text string, value func(namespace, name string) (string, error)) (string, error) {
	return replace(text, func(ref string) (string, error) {
		namespace, name, ok := strings.Cut(ref, "/")
		if !ok {
			return "", fmt.Errorf("the reference to secret %q has no namespace", ref)
		}
		return value(namespace, name)
	})
}

// replace looks at each reference once: a value that looks like one stays a value.
func replace(text string, with func(ref string) (string, error)) (string, error) {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(text, refBegin)
		out.WriteString(before)
		if !found {
			return out.String(), nil
		}
		ref, after, closed := strings.Cut(rest, refEnd)
		if !closed {
			return "", fmt.Errorf("a reference to a secret has no end: write %sNAME%s", refBegin, refEnd)
		}
		value, err := with(ref)
		if err != nil {
			return "", err
		}
		out.WriteString(value)
		text = after
	}
}

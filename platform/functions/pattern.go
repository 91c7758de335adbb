package functions

import "strings"

// A pattern is a type, or "namespace/*" for all types of a namespace.

// CheckPattern says whether a text is a pattern.
func CheckPattern(text string) error {
	if namespace, ok := strings.CutSuffix(text, "/*"); ok {
		return CheckType(namespace + "/x")
	}
	return CheckType(text)
}

// Covers says whether one of the patterns is for the type.
func Covers(patterns []string, typ string) bool {
	for _, p := range patterns {
		if p == typ || matches(p, typ) {
			return true
		}
	}
	return false
}

// Overlap says whether there is a type that both patterns are for.
func Overlap(a, b string) bool { return a == b || matches(a, b) || matches(b, a) }

func matches(pattern, typ string) bool {
	prefix, all := strings.CutSuffix(pattern, "*")
	return all && strings.HasPrefix(typ, prefix)
}

package functions

import (
	"errors"
	"fmt"
	"strings"
)

// Limits of addresses and of messages.
const (
	MaxTypeBytes     = 128
	MaxIDBytes       = 1024
	MaxTypenameBytes = 512
	MaxValueBytes    = 1 << 20
	MaxTokenBytes    = 256
)

// ErrAddress is wrapped by every refusal of a type, an id or an address.
var ErrAddress = errors.New("bad address of a function")

// Address names a virtual stateful function: Type is "namespace/name".
type Address struct{ Type, ID string }

func (a Address) String() string { return a.Type + "/" + a.ID }

// ParseAddress reads "namespace/name/id"; the id is all that follows the second slash.
func ParseAddress(text string) (Address, error) {
	namespace, rest, _ := strings.Cut(text, "/")
	name, id, found := strings.Cut(rest, "/")
	if !found {
		return Address{}, fmt.Errorf("%w: %q: want namespace/name/id, such as com.example/counter/acct-7", ErrAddress, text)
	}
	a := Address{Type: namespace + "/" + name, ID: id}
	return a, a.Check()
}

// Check holds an address against its limits.
func (a Address) Check() error {
	if err := CheckType(a.Type); err != nil {
		return err
	}
	if a.ID == "" || len(a.ID) > MaxIDBytes {
		return fmt.Errorf("%w: an id of %d bytes: want 1 to %d", ErrAddress, len(a.ID), MaxIDBytes)
	}
	return nil
}

// CheckType says whether a text is a type: two names, of letters, digits, '.',
// '_' and '-', with a slash between. Those of Weir's own namespace are refused.
func CheckType(text string) error {
	namespace, name, found := strings.Cut(text, "/")
	switch {
	case !found || !isName(namespace) || !isName(name):
		return fmt.Errorf("%w: type %q: want namespace/name of letters, digits, '.', '_' and '-', such as com.example/counter", ErrAddress, text)
	case len(text) > MaxTypeBytes:
		return fmt.Errorf("%w: a type of %d bytes: the limit is %d", ErrAddress, len(text), MaxTypeBytes)
	case namespace == Namespace:
		return fmt.Errorf("%w: type %q: the namespace %s is Weir's own; choose another", ErrAddress, text, Namespace)
	}
	return nil
}

func isName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-') {
			return false
		}
	}
	return s != ""
}

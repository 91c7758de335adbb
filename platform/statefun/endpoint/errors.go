package endpoint

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// The two verdicts on a call; every *Error is one of them.
var (
	// ErrFinal says that another attempt would not help.
	ErrFinal = errors.New("the endpoint refuses")
	// ErrExhausted says that the budget of the call was used up by attempts that failed.
	ErrExhausted = errors.New("the endpoint does not answer")
)

// What an attempt met; every *Error is one of them too.
var (
	ErrConnect  = errors.New("no connection")
	ErrSend     = errors.New("the server does not take the request")
	ErrSilent   = errors.New("no answer")
	ErrLost     = errors.New("the connection ended without an answer")
	ErrStalled  = errors.New("the answer stands still")
	ErrHalf     = errors.New("the answer breaks off")
	ErrTooLarge = errors.New("the answer is too large")
	ErrStatus   = errors.New("status")
	errRequest  = errors.New("the request cannot be made")
)

// maxShownBytes is where a body that is no reply is cut.
const maxShownBytes = 300

// Error is a call that failed.
type Error struct {
	URL      string
	Final    bool
	Attempts int           // made, the failed last one too
	Took     time.Duration // all of them and the pauses between
	// Of the last attempt.
	Status      int // 0: there was no answer
	ContentType string
	Body        string // the beginning of it, if it is a text
	Cause       error  // one of the errors above, and what was behind it
}

func (e *Error) Error() string {
	if e.Final {
		return fmt.Sprintf("%v: POST %s: %v", ErrFinal, e.URL, e.Cause)
	}
	return fmt.Sprintf("%v: %d attempts in %s, the last: POST %s: %v", ErrExhausted, e.Attempts, e.Took.Round(time.Millisecond), e.URL, e.Cause)
}

// Unwrap gives the verdict and the cause.
func (e *Error) Unwrap() []error {
	if e.Final {
		return []error{ErrFinal, e.Cause}
	}
	return []error{ErrExhausted, e.Cause}
}

// passing says whether a status may be another one next time.
func passing(status int) bool {
	switch status {
	case 408, 409, 420, 429, 499:
		return true
	}
	return status >= 500
}

// shown is the beginning of a body, on one line, if it is a text.
func shown(body []byte) string {
	cut := body[:min(len(body), maxShownBytes)]
	for i := 1; i < utf8.UTFMax && len(cut) < len(body) && !utf8.Valid(cut); i++ {
		cut = cut[:len(cut)-1] // a character that the cut went through
	}
	if !utf8.Valid(cut) {
		return ""
	}
	text := strings.Join(strings.Fields(string(cut)), " ")
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return ""
	}
	return text
}

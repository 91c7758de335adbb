package embednats

import (
	"fmt"
	"log/slog"
)

// logger passes the server's lines on to slog. A notice of NATS is what an
// operator of Weir calls detail, so it becomes debug.
type logger struct {
	log   *slog.Logger
	fatal chan string // holds the first fatal line
	// marked holds why the first stream was marked with a write error and is not yet recovered.
	marked chan string
}

func newLogger(log *slog.Logger) *logger {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &logger{log: log, fatal: make(chan string, 1), marked: make(chan string, 1)}
}

func (l *logger) Noticef(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l *logger) Warnf(format string, v ...any)   { l.log.Warn(fmt.Sprintf(format, v...)) }
func (l *logger) Debugf(format string, v ...any)  { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l *logger) Tracef(string, ...any)           {}

// Errorf looks for streams that have taken a write error.
func (l *logger) Errorf(format string, v ...any) {
	line := fmt.Sprintf(format, v...)
	l.log.Error(line)
	if marks(line) {
		select {
		case l.marked <- line:
		default:
		}
	}
}

// Fatalf does not end the process: a server that is embedded may stop, its host not.
func (l *logger) Fatalf(format string, v ...any) {
	line := fmt.Sprintf(format, v...)
	l.log.Error(line)
	select {
	case l.fatal <- line:
	default:
	}
}

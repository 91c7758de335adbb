package wasmhost

import "bytes"

// Levels of a guest's log line, as abi has them.
const (
	LevelDebug = 0
	LevelInfo  = 1
	LevelWarn  = 2
	LevelError = 3
)

// lineLog cuts what a guest writes into lines and keeps the first ones of a call,
// which tell why a runtime gave up, and the last. Its buffers are reused.
//
// What is written to standard error is held back until the guest says something
// else or the call ends: if it ends badly, that was the runtime's last word, a
// panic with its stack, and goes on as one entry instead of a hundred.
type lineLog struct {
	head    [reportLogLines][]byte
	ring    [reportLogLines][]byte
	count   int // lines in this call
	dropped uint64
	partial [2][]byte // what was written to 1 and 2 after the last line end
	held    []byte    // whole lines of standard error, each with its line end
	passed  int       // entries of this call that went on
}

func (l *lineLog) begin() { l.count, l.passed = 0, 0 }

// line passes one line on, behind what is held back.
func (l *lineLog) line(to Imports, level int, line []byte) {
	l.release(to)
	line = l.note(line)
	l.pass(to, level, line)
}

// note keeps a line for the report of a trap.
func (l *lineLog) note(line []byte) []byte {
	if len(line) > MaxLogLineBytes {
		line = line[:MaxLogLineBytes]
	}
	slot := &l.ring[l.count%reportLogLines]
	if l.count < reportLogLines {
		slot = &l.head[l.count]
	}
	*slot = append((*slot)[:0], line...)
	l.count++
	return line
}

func (l *lineLog) pass(to Imports, level int, entry []byte) {
	if l.passed++; l.passed > MaxLogLinesPerCall || to == nil {
		l.dropped++
		return
	}
	to.Log(level, entry)
}

// write takes bytes written to standard output (fd 1) or error (fd 2).
func (l *lineLog) write(to Imports, fd uint32, b []byte) {
	p := &l.partial[fd-1]
	for _, c := range b {
		if c == '\n' {
			l.flush(to, fd)
		} else if len(*p) < MaxLogLineBytes {
			*p = append(*p, c)
		}
	}
}

func (l *lineLog) flush(to Imports, fd uint32) {
	p := &l.partial[fd-1]
	if fd == 1 {
		l.line(to, LevelInfo, *p)
	} else {
		if len(l.held)+len(*p)+1 > MaxLogEntryBytes {
			l.release(to)
		}
		l.held = append(append(l.held, l.note(*p)...), '\n')
	}
	*p = (*p)[:0]
}

// release passes on line by line what was held back.
func (l *lineLog) release(to Imports) {
	for rest := l.held; len(rest) > 0; {
		end := bytes.IndexByte(rest, '\n')
		l.pass(to, LevelWarn, rest[:end])
		rest = rest[end+1:]
	}
	l.held = l.held[:0]
}

// end passes on what has no line end, and what was held back: as one entry if
// the call ended badly.
func (l *lineLog) end(to Imports, badly bool) {
	for fd := uint32(1); fd <= 2; fd++ {
		if len(l.partial[fd-1]) > 0 {
			l.flush(to, fd)
		}
	}
	if badly && len(l.held) > 0 {
		l.pass(to, LevelError, bytes.TrimSpace(l.held))
		l.held = l.held[:0]
	}
	l.release(to)
}

// lines copies what a report shows of the call: its first and its last lines.
func (l *lineLog) lines() []string {
	var lines []string
	for i := range min(l.count, reportLogLines) {
		lines = append(lines, string(l.head[i]))
	}
	from := max(reportLogLines, l.count-reportLogLines)
	if from > reportLogLines {
		lines = append(lines, "...")
	}
	for i := from; i < l.count; i++ {
		lines = append(lines, string(l.ring[i%reportLogLines]))
	}
	return lines
}

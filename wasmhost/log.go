package wasmhost

// Levels of a guest's log line, as abi has them.
const (
	LevelDebug = 0
	LevelInfo  = 1
	LevelWarn  = 2
	LevelError = 3
)

// lineLog cuts what a guest writes into lines and keeps the last ones. Its
// buffers are reused from call to call.
type lineLog struct {
	ring    [reportLogLines][]byte
	count   int // lines in this call
	dropped uint64
	partial [2][]byte // what was written to 1 and 2 after the last line end
}

func (l *lineLog) begin() { l.count = 0 }

// line passes one line on.
func (l *lineLog) line(to Imports, level int, line []byte) {
	if len(line) > MaxLogLineBytes {
		line = line[:MaxLogLineBytes]
	}
	slot := &l.ring[l.count%reportLogLines]
	*slot = append((*slot)[:0], line...)
	l.count++
	if l.count > MaxLogLinesPerCall || to == nil {
		l.dropped++
		return
	}
	to.Log(level, line)
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
	level := LevelInfo
	if fd == 2 {
		level = LevelWarn
	}
	l.line(to, level, *p)
	*p = (*p)[:0]
}

// end passes on what has no line end.
func (l *lineLog) end(to Imports) {
	for fd := uint32(1); fd <= 2; fd++ {
		if len(l.partial[fd-1]) > 0 {
			l.flush(to, fd)
		}
	}
}

// last copies the last lines, oldest first.
func (l *lineLog) last() []string {
	var lines []string
	for i := max(0, l.count-reportLogLines); i < l.count; i++ {
		lines = append(lines, string(l.ring[i%reportLogLines]))
	}
	return lines
}

package wasmhost

// Levels of a guest's log line, as abi has them.
const (
	LevelDebug = 0
	LevelInfo  = 1
	LevelWarn  = 2
	LevelError = 3
)

// lineLog cuts what a guest writes into lines and keeps the first ones of a call,
// which tell why a runtime gave up, and the last. Its buffers are reused.
type lineLog struct {
	head    [reportLogLines][]byte
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
	if l.count < reportLogLines {
		slot = &l.head[l.count]
	}
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

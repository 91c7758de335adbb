package cli

// paint writes ANSI colours, or nothing where nobody sees them.
type paint bool

func (p paint) in(code, s string) string {
	if !p || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p paint) red(s string) string    { return p.in("31", s) }
func (p paint) green(s string) string  { return p.in("32", s) }
func (p paint) yellow(s string) string { return p.in("33", s) }
func (p paint) bold(s string) string   { return p.in("1", s) }
func (p paint) dim(s string) string    { return p.in("2", s) }

// state colours a job's state.
func (p paint) state(s string) string {
	switch s {
	case "running", "finished":
		return p.green(s)
	case "failed":
		return p.red(s)
	case "restarting", "starting", "stopping":
		return p.yellow(s)
	}
	return s
}

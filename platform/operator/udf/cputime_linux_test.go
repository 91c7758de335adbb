package udf

import (
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime is what this thread has computed so far: other work on the machine does not count.
func cpuTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_THREAD, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

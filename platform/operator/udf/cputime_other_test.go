//go:build !linux

package udf

import "time"

var began = time.Now()

// cpuTime is the time that has passed, where a thread's own cannot be read.
func cpuTime() time.Duration { return time.Since(began) }

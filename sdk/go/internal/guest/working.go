//go:build !wasip1

package guest

import (
	"runtime"
	"strings"
)

// confirmWorking looks whether one of the goroutines was started by a handler: beside tests that run in parallel the number alone proves nothing.
// Goroutines name the one that created them, and only ours is inside of Instance.Call.
func confirmWorking() bool {
	buf := make([]byte, 1<<20)
	mine := string(buf[:runtime.Stack(buf, false)])
	id, _, _ := strings.Cut(strings.TrimPrefix(mine, "goroutine "), " ")
	all := string(buf[:runtime.Stack(buf, true)])
	return strings.Contains(all, "in goroutine "+id+"\n")
}

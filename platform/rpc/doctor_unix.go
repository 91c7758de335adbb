//go:build unix

package rpc

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"
)

// Free space of the data directory, below which the doctor speaks.
const (
	littleSpace     = 1 << 30
	veryLittleSpace = 100 << 20
)

// CheckDisk looks at the free space of the data directory.
func CheckDisk(dir string) Check {
	return Check{Name: "disk", Do: func(context.Context) ([]Finding, error) {
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err != nil {
			return nil, fmt.Errorf("look at %s: %w", dir, err)
		}
		free := st.Bavail * uint64(st.Bsize)
		f := Finding{OK, fmt.Sprintf("%d MiB free in %s", free>>20, dir), ""}
		if free < littleSpace {
			f.Severity, f.Hint = Warning, "free space, or give topics a --max-age or --max-bytes: without space no checkpoint completes"
		}
		if free < veryLittleSpace {
			f.Severity = Error
		}
		return []Finding{f}, nil
	}}
}

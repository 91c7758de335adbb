package arena

import "golang.org/x/sys/unix"

// adviseHuge asks for huge pages. A kernel that has none says no, and nothing is lost.
func adviseHuge(b []byte) { _ = unix.Madvise(b, unix.MADV_HUGEPAGE) }

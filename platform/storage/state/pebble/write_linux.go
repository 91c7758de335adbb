package pebble

import "golang.org/x/sys/unix"

// beginWriting queues the file's bytes below an offset for the disk, when those
// that were queued before are there. A system that cannot do it writes them when
// it likes.
func beginWriting(file uintptr, offset int64) {
	_ = unix.SyncFileRange(int(file), 0, offset, unix.SYNC_FILE_RANGE_WAIT_BEFORE|unix.SYNC_FILE_RANGE_WRITE)
}

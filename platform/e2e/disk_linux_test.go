package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// fullDisk gives a folder that can be filled up and emptied again. As root it is
// a small file system of its own; otherwise the files of a pipeline are blocked.
func fullDisk(t *testing.T, blobs string) (fill func(uid string) error, free func(uid string) error, says string) {
	t.Helper()
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		t.Fatal(err)
	}
	const bytes = 8 << 20
	if err := syscall.Mount("tmpfs", blobs, "tmpfs", 0, "size=8m"); err != nil {
		return block(blobs)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(blobs, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	filler := filepath.Join(blobs, "filler")
	return func(string) error {
		f, err := os.Create(filler)
		if err != nil {
			return err
		}
		chunk := make([]byte, 4096)
		for range bytes / len(chunk) {
			if _, err = f.Write(chunk); err != nil {
				break
			}
		}
		if !errors.Is(err, syscall.ENOSPC) {
			return errors.Join(err, errors.New("the disk is not full"))
		}
		return f.Close()
	}, func(string) error { return os.Remove(filler) }, "space"
}

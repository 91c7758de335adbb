//go:build !linux

package e2e

import "testing"

func fullDisk(t *testing.T, blobs string) (fill func(uid string) error, free func(uid string) error, says string) {
	t.Helper()
	return block(blobs)
}

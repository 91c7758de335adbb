//go:build linux || darwin

package wasmhost

import "golang.org/x/sys/unix"

func reserve(n int) ([]byte, error) {
	if n == 0 {
		n = pageBytes
	}
	return unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_NORESERVE)
}

func release(b []byte) { _ = unix.Munmap(b) }

//go:build !unix

package arena

const canMap = false

func mapMemory(size int) []byte { return make([]byte, size) }

func unmapMemory([]byte) {}

func table[T slotRecord | uint64 | ref](_ *source, n int) []T { return make([]T, n) }

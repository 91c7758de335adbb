//go:build !weirpoison

package batch

const poison = false

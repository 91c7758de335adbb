//go:build weirpoison

package batch

// poison fills released memory, so that a use after release shows in tests.
const poison = true

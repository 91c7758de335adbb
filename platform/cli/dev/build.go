package dev

import (
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// snapshot is a fingerprint of the project's sources: names, sizes, times. A
// file that cannot be looked at is as one that is not there.
func (l *loop) snapshot() uint64 {
	h := fnv.New64a()
	_ = filepath.WalkDir(l.options.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // it was removed between listing and looking
		}
		name := d.Name()
		if d.IsDir() {
			if path != l.options.Dir && passedOver(name) {
				return fs.SkipDir
			}
			return nil
		}
		if strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") || (strings.HasSuffix(name, ".wasm") && l.made(path)) {
			return nil
		}
		if info, err := d.Info(); err == nil {
			fmt.Fprintln(h, path, info.Size(), info.ModTime().UnixNano())
		}
		return nil
	})
	if info, err := os.Stat(l.options.Pipeline); err == nil {
		fmt.Fprintln(h, info.Size(), info.ModTime().UnixNano())
	}
	return h.Sum64()
}

// made tells whether a module is what a build writes; then its sources count.
func (l *loop) made(module string) bool {
	return l.options.Build != "" || exists(module, "build.sh") || exists(module, "go.mod") || exists(module, "Makefile")
}

// exists tells whether a file stands beside a module.
func exists(module, name string) bool {
	_, err := os.Stat(filepath.Join(filepath.Dir(module), name))
	return err == nil
}

// passedOver tells whether a folder holds nothing that a build reads.
func passedOver(name string) bool {
	return strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules"
}

// killed is how long a build that was killed may hold its output open.
const killed = time.Second

// build makes a module by the given command, else by build.sh, the go command or
// make in its folder; false if nothing of that is there and the file is taken as it is.
func build(ctx context.Context, module, command string) (bool, error) {
	dir := filepath.Dir(module)
	var cmd *exec.Cmd
	switch {
	case command != "":
		cmd = exec.CommandContext(ctx, "sh", "-c", command)
	case exists(module, "build.sh"):
		cmd = exec.CommandContext(ctx, "sh", "build.sh")
	case exists(module, "go.mod"):
		cmd = exec.CommandContext(ctx, "go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", filepath.Base(module), ".")
		cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	case exists(module, "Makefile"):
		cmd = exec.CommandContext(ctx, "make", filepath.Base(module))
	default:
		return false, nil
	}
	cmd.Dir = dir
	// What a shell has started must not write the module after its time.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = killed
	if out, err := cmd.CombinedOutput(); err != nil {
		return false, fmt.Errorf("build %s: %w\n%s", module, err, bytes.TrimSpace(out))
	}
	return true, nil
}

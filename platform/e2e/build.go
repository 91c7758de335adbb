package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Root is the repository's root folder, found from the working directory.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "platform", "cmd", "weir")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("run it inside the repository")
		}
	}
}

// BuildServer builds the command weir into dir.
func BuildServer(ctx context.Context, root, dir string) (string, error) {
	binary := filepath.Join(dir, "weir")
	return binary, run(ctx, root, nil, "go", "build", "-o", binary, "./platform/cmd/weir")
}

// BuildGuest builds the Go module of the crash tests into dir.
func BuildGuest(ctx context.Context, root, dir string) (string, error) {
	return buildModule(ctx, root, dir, "benchguest")
}

// BuildFunctions builds the Go module of stateful functions into dir.
func BuildFunctions(ctx context.Context, root, dir string) (string, error) {
	return buildModule(ctx, root, dir, "functionguest")
}

func buildModule(ctx context.Context, root, dir, name string) (string, error) {
	wasm := filepath.Join(dir, name+".wasm")
	return wasm, run(ctx, filepath.Join(root, "sdk", "go"), []string{"GOOS=wasip1", "GOARCH=wasm", "GOWORK=off"},
		"go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", wasm, "./internal/"+name)
}

func run(ctx context.Context, dir string, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

package sdktest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// need finds a program. Without it a test is skipped, but under CI it fails.
func need(t *testing.T, program, why string) {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is missing: %s", program, why)
	}
	t.Skipf("%s is missing: %s", program, why)
}

// prepare runs a command that fetches what a server needs. Without a network the
// test is skipped, but under CI it fails.
func prepare(t *testing.T, dir string, command ...string) {
	t.Helper()
	c := exec.Command(command[0], command[1:]...)
	c.Dir = dir
	out, err := c.CombinedOutput()
	if err == nil {
		return
	}
	text := fmt.Sprintf("%s: %v\n%s", strings.Join(command, " "), err, out)
	if os.Getenv("CI") != "" {
		t.Fatal(text)
	}
	t.Skip(text)
}

// cache is a folder that outlives the test, so that the next one need not fetch.
func cache(t *testing.T, name string) string {
	t.Helper()
	base, err := os.UserCacheDir()
	if err != nil {
		base = os.TempDir()
	}
	dir := filepath.Join(base, "weir-sdktest", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestThePythonSDKRunsUnchanged(t *testing.T) {
	need(t, "python3", "the server with the Python SDK is written in it")
	env := cache(t, "python")
	python := filepath.Join(env, "bin", "python")
	if exec.Command(python, "-c", "import statefun").Run() != nil {
		prepare(t, "python", "python3", "-m", "venv", env)
		prepare(t, "python", python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt")
	}
	conform(t, server(t, "python", python, "greeter.py"))
}

func TestTheJavaScriptSDKRunsUnchanged(t *testing.T) {
	need(t, "node", "the server with the JavaScript SDK runs on it")
	need(t, "npm", "it fetches the JavaScript SDK")
	dir := cache(t, "javascript")
	for _, file := range []string{"package.json", "greeter.js"} {
		b, err := os.ReadFile(filepath.Join("javascript", file))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, file), b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "apache-flink-statefun")); err != nil {
		prepare(t, dir, "npm", "install", "--no-audit", "--no-fund", "--silent")
	}
	conform(t, server(t, dir, "node", "greeter.js"))
}

func TestTheJavaSDKRunsUnchanged(t *testing.T) {
	need(t, "mvn", "it fetches the Java SDK and builds the server with it")
	need(t, "java", "the server with the Java SDK runs on it")
	dir := cache(t, "java")
	prepare(t, "java", "mvn", "-B", "-q", "-DbuildDirectory="+dir, "dependency:copy-dependencies", "-DoutputDirectory="+filepath.Join(dir, "lib"), "compile")
	conform(t, server(t, "", "java", "-cp", filepath.Join(dir, "classes")+":"+filepath.Join(dir, "lib", "*"), "Greeter"))
}

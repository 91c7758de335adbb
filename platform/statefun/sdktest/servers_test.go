package sdktest

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// sdk is one of StateFun's, with a server of the same functions written with it.
type sdk struct {
	name  string
	start func(t testing.TB) string // gives where it listens
	types []string                  // those of StateFun's own types that it has
	// What a reply is that does nothing, and whether states without an expiration say so.
	nothing     string
	saysNever   bool
	contentType string // of replies, as the SDK's own handler or the server of the test sets it
	// Whether a message or a state fails that is of another type than the function
	// expects, and a message without a value; otherwise it is read as if it were one.
	checksMessages, checksStates, needsValues bool
	plainText                                 int // the status for a request of that content type
}

var (
	allTypes = []string{"bool", "int", "long", "float", "double", "string"}

	goSDK = sdk{name: "Go", start: goServer, types: allTypes, nothing: "a20600", saysNever: true, contentType: "application/octet-stream", plainText: 415}

	pythonSDK = sdk{
		name: "Python", start: pythonServer, types: allTypes, nothing: "", saysNever: true, contentType: "application/octet-stream", checksStates: true, plainText: 200,
	}
	javaScriptSDK = sdk{
		name: "JavaScript", start: javaScriptServer, types: []string{"bool", "int", "float", "string"}, nothing: "a20600", contentType: "application/octet-stream",
		checksMessages: true, checksStates: true, plainText: 200,
	}
	javaSDK = sdk{name: "Java", start: javaServer, types: allTypes, nothing: "a20600", checksMessages: true, checksStates: true, needsValues: true, plainText: 200}

	sdks = []sdk{goSDK, pythonSDK, javaScriptSDK, javaSDK}
)

// each runs a test against every SDK.
func each(t *testing.T, test func(t *testing.T, s sdk, address string)) {
	for _, s := range sdks {
		t.Run(s.name, func(t *testing.T) { test(t, s, s.start(t)) })
	}
}

// need finds a program. Without it a test is skipped, but under CI it fails.
func need(t testing.TB, program, why string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		missing(t, fmt.Sprintf("%s is missing: %s (task tools installs it where it can)", program, why))
	}
}

func missing(t testing.TB, text string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(text)
	}
	t.Skip(text)
}

// installed gives a folder with what a server needs, and installs that if it is
// not there: the folder outlives the test, and is another one when a file changes
// that says what is needed. Without a network the test is skipped, but under CI it
// fails.
func installed(t testing.TB, name string, files []string, install func(dir string, run func(command ...string))) string {
	t.Helper()
	sum := sha256.New()
	for _, file := range files {
		b, err := os.ReadFile(filepath.Join(name, file))
		if err != nil {
			t.Fatal(err)
		}
		sum.Write(b)
	}
	base, err := os.UserCacheDir()
	if err != nil {
		base = os.TempDir()
	}
	dir := filepath.Join(base, "weir-sdktest", fmt.Sprintf("%s-%x", name, sum.Sum(nil)[:8]))
	done := filepath.Join(dir, ".done")
	if _, err := os.Stat(done); err == nil {
		return dir
	}
	if err := os.RemoveAll(dir); err != nil { // of an installation that was cut off
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	install(dir, func(command ...string) {
		t.Helper()
		c := exec.Command(command[0], command[1:]...)
		c.Dir = name
		if out, err := c.CombinedOutput(); err != nil {
			missing(t, fmt.Sprintf("%s: %v\n%s", strings.Join(command, " "), err, out))
		}
	})
	if err := os.WriteFile(done, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func pythonServer(t testing.TB) string {
	t.Helper()
	need(t, "python3", "the server with the Python SDK is written in it")
	dir := installed(t, "python", []string{"requirements.txt"}, func(dir string, run func(...string)) {
		run("python3", "-m", "venv", dir)
		run(filepath.Join(dir, "bin", "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt")
	})
	return server(t, nil, filepath.Join(dir, "bin", "python"), "python/greeter.py")
}

func javaScriptServer(t testing.TB) string {
	t.Helper()
	need(t, "node", "the server with the JavaScript SDK runs on it")
	need(t, "npm", "it fetches the JavaScript SDK")
	dir := installed(t, "javascript", []string{"package.json", "package-lock.json"}, func(dir string, run func(...string)) {
		run("cp", "package.json", "package-lock.json", dir)
		run("npm", "ci", "--prefix", dir, "--no-audit", "--no-fund", "--silent")
	})
	return server(t, []string{"NODE_PATH=" + filepath.Join(dir, "node_modules")}, "node", "javascript/greeter.js")
}

func javaServer(t testing.TB) string {
	t.Helper()
	need(t, "mvn", "it fetches the Java SDK and builds the server with it")
	need(t, "java", "the server with the Java SDK runs on it")
	dir := installed(t, "java", []string{"pom.xml", "src/main/java/Greeter.java"}, func(dir string, run func(...string)) {
		run("mvn", "-B", "-q", "-DbuildDirectory="+dir, "dependency:copy-dependencies", "-DoutputDirectory="+filepath.Join(dir, "lib"), "compile")
	})
	// The short-lived server needs no compiler that optimizes.
	return server(t, nil, "java", "-XX:TieredStopAtLevel=1", "-cp", filepath.Join(dir, "classes")+":"+filepath.Join(dir, "lib", "*"), "Greeter")
}

// server starts a program that prints the address it listens on, and gives that.
func server(t testing.TB, env []string, command ...string) string {
	t.Helper()
	c := exec.Command(command[0], command[1:]...)
	c.Env = append(os.Environ(), env...)
	var said strings.Builder
	c.Stderr = &said
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		if t.Failed() {
			t.Logf("%v said:\n%s", command, said.String())
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("%v: it ended without saying where it listens: %v", command, err)
	}
	return strings.TrimSpace(line)
}

// built is where the server with the Go SDK is, for as long as the tests run.
var built string

func TestMain(m *testing.M) {
	code := 1
	defer func() { os.Exit(code) }()
	dir, err := os.MkdirTemp("", "weir-sdktest")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	defer os.RemoveAll(dir)
	built = dir
	code = m.Run()
}

// buildGo builds the server with the Go SDK once.
var buildGo = sync.OnceValues(func() (string, error) {
	binary := filepath.Join(built, "greeter")
	c := exec.Command("go", "build", "-o", binary, ".")
	c.Dir = "go"
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the server with the Go SDK: %w\n%s", err, out)
	}
	return binary, nil
})

func goServer(t testing.TB) string {
	t.Helper()
	binary, err := buildGo()
	if err != nil {
		t.Fatal(err)
	}
	return server(t, nil, binary)
}

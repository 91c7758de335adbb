package weir_test

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/weirstream/weir/platform/cli"
)

// forbidden are words that no page may have: folders of somebody's machine.
var forbidden = regexp.MustCompile(`/work/|/root/|/home/[a-z]|/Users/[a-z]`)

var (
	fence    = regexp.MustCompile("(?ms)^```.*?^```$")
	codeSpan = regexp.MustCompile("`[^`\n]*`")
	link     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading  = regexp.MustCompile(`(?m)^#{1,6} +(.+)$`)
	metric   = regexp.MustCompile(`desc\("(weir_[a-z_]+)"`)
)

func TestRelativeLinksOfAllPagesLeadSomewhere(t *testing.T) {
	seen := 0
	eachPage(t, func(page, text string) {
		prose := codeSpan.ReplaceAllString(fence.ReplaceAllString(text, ""), "")
		for _, m := range link.FindAllStringSubmatch(prose, -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			seen++
			file, anchor, _ := strings.Cut(m[1], "#")
			target := page
			if file != "" {
				target = filepath.Join(filepath.Dir(page), filepath.FromSlash(file))
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: the link %s leads nowhere", page, m[1])
				continue
			}
			if anchor != "" && !anchors(t, target)[anchor] {
				t.Errorf("%s: %s has no heading #%s", page, target, anchor)
			}
		}
	})
	if seen < 20 {
		t.Fatalf("only %d links were seen: the walk is broken", seen)
	}
}

func TestNoPageNamesAMachine(t *testing.T) {
	eachPage(t, func(page, text string) {
		for n, line := range strings.Split(text, "\n") {
			if word := forbidden.FindString(line); word != "" {
				t.Errorf("%s:%d: %q", page, n+1, word)
			}
		}
	})
}

func TestEveryMetricIsExplained(t *testing.T) {
	source, operations := read(t, "platform/metrics/names.go"), read(t, "docs/operations.md")
	names := map[string]bool{}
	for _, m := range metric.FindAllStringSubmatch(source, -1) {
		names[m[1]] = true
		if !strings.Contains(operations, "`"+m[1]+"`") {
			t.Errorf("docs/operations.md does not explain the metric %s", m[1])
		}
	}
	if len(names) < 10 {
		t.Fatalf("only %d metrics were seen: the table in names.go is written in another way", len(names))
	}
	for _, m := range regexp.MustCompile("`(weir_[a-z_]+)`").FindAllStringSubmatch(operations, -1) {
		if !names[m[1]] {
			t.Errorf("docs/operations.md explains %s, which is no metric", m[1])
		}
	}
}

func TestEveryCommandAndFlagIsExplained(t *testing.T) {
	page := read(t, "docs/cli.md")
	server := read(t, "docs/operations.md")
	seen := 0
	var walk func(path []string)
	walk = func(path []string) {
		help := helpOf(t, path)
		name := strings.Join(append([]string{"weir"}, path...), " ")
		if len(path) > 0 {
			seen++
			if !strings.Contains(page, name) {
				t.Errorf("docs/cli.md does not have the command %s", name)
			}
		}
		if name == "weir server" {
			for _, m := range regexp.MustCompile(`(?m)^ +(?:-[a-z], )?(--[a-z-]+)`).FindAllStringSubmatch(help, -1) {
				if !strings.Contains(server+page, "`"+m[1]) {
					t.Errorf("docs/operations.md does not have the flag %s", m[1])
				}
			}
		}
		for _, sub := range subcommands(help) {
			walk(append(path[:len(path):len(path)], sub))
		}
	}
	walk(nil)
	if seen < 30 {
		t.Fatalf("only %d commands were seen: help is written in another way", seen)
	}
}

// helpOf is what a command says of itself.
func helpOf(t *testing.T, path []string) string {
	t.Helper()
	var out bytes.Buffer
	env := cli.Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out, Getenv: func(string) string { return "" }}
	if code := cli.Main(context.Background(), append(path[:len(path):len(path)], "--help"), env); code != cli.ExitOK {
		t.Fatalf("help of %v: exit code %d: %s", path, code, out.String())
	}
	return out.String()
}

// subcommands reads the commands out of a help text: indented names under a
// heading of a group, before the flags.
func subcommands(help string) []string {
	_, list, found := strings.Cut(help, "\n  weir ")
	if !found {
		return nil
	}
	list, _, _ = strings.Cut(list, "\nFlags:")
	var names []string
	for _, m := range regexp.MustCompile(`(?m)^  ([a-z]+) {2,}\S`).FindAllStringSubmatch(list, -1) {
		if m[1] != "help" {
			names = append(names, m[1])
		}
	}
	return names
}

// eachPage visits every markdown page that is ours.
func eachPage(t *testing.T, visit func(page, text string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && file != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules" || d.Name() == "bin") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(file, ".md") {
			visit(file, read(t, file))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// anchors are the names by which a page's headings can be linked to.
func anchors(t *testing.T, page string) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(read(t, page), ""), -1) {
		name := strings.ToLower(strings.TrimSpace(m[1]))
		name = regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(name, "")
		out[strings.ReplaceAll(name, " ", "-")] = true
	}
	return out
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

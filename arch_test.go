package weir_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/weirstream/weir/"

// rules say, by folder, which folders of ours a package below it may import. The
// longest prefix that matches a package counts. docs/architecture.md tells why.
var rules = map[string][]string{
	"abi":               {"abi"},
	"wasmhost":          {"wasmhost", "abi"},
	"raftmeta/jobgraph": {"raftmeta/jobgraph"},
	"raftmeta/catalog":  {"raftmeta/catalog", "raftmeta/jobgraph"},
	"raftmeta":          {"raftmeta"},
	"scheduler":         {"scheduler", "raftmeta/jobgraph", "raftmeta/catalog"},
	"web":               {"web"},
	"platform":          {"platform", "scheduler", "raftmeta", "wasmhost", "abi", "web"},
}

// layers are the packages of platform, lowest first: a package imports only
// packages of lower layers, or below its own folder.
var layers = []string{
	"platform/config", "platform/metrics", "platform/logbook", "platform/auth", "platform/failpoint", "platform/nearest", "platform/upgrade",
	"platform/batch", "platform/element", "platform/api", "platform/functions", "platform/statefun",
	"platform/format",
	"platform/storage/blob", "platform/storage/state", "platform/storage/snapshot", "platform/storage/state/lazy",
	"platform/connector",
	"platform/operator",
	"platform/planner",
	"platform/runtime",
	"platform/worker", "platform/cluster", "platform/modules", "platform/topics", "platform/pipelines", "platform/savepoints", "platform/backup", "platform/statereader",
	"platform/gateway",
	"platform/embednats", "platform/rpc", "platform/cli",
	"platform/local",
	"platform/server",
	"platform/sim",
	"platform/cmd", "platform/demo", "platform/e2e", "platform/bench", "platform/chaos",
}

// pure folders import nothing but the standard library and the named ones of ours.
var pure = []string{"raftmeta/jobgraph", "raftmeta/catalog", "scheduler", "platform/runtime/barrier", "wasmhost/rewrite"}

// owners are packages of others that only one folder of ours may import.
var owners = map[string]string{
	"github.com/tetratelabs/wazero":       "wasmhost",
	"github.com/hashicorp/raft":           "raftmeta",
	"go.etcd.io/bbolt":                    "raftmeta",
	"github.com/nats-io/nats-server/v2":   "platform/embednats",
	"github.com/spf13/cobra":              "platform/cli",
	"go.yaml.in/yaml/v3":                  "platform/planner",
	"github.com/prometheus/client_golang": "platform/metrics",
	"github.com/cockroachdb/pebble/v2":    "platform/storage/state/pebble",
	"gocloud.dev":                         "platform/storage/blob/bucket",
	"github.com/aws":                      "platform/storage/blob/bucket",
	"github.com/Azure":                    "platform/storage/blob/bucket",
	"cloud.google.com/go":                 "platform/storage/blob/bucket",
	"github.com/johannesboyne/gofakes3":   "platform/storage/blob/s3test",
}

func TestImportsFollowTheArrows(t *testing.T) {
	eachImport(t, func(file, pkg, imported string, test bool) {
		if !strings.HasPrefix(imported, module) {
			return
		}
		to := strings.TrimPrefix(imported, module)
		if test && strings.HasPrefix(to, "platform/") == strings.HasPrefix(pkg, "platform/") {
			return // tests of the platform may bring its parts together
		}
		folder := longest(pkg, keys(rules))
		if folder == "" {
			return
		}
		if longest(to, rules[folder]) == "" {
			t.Errorf("%s: %s may not import %s; it may import %s", file, pkg, to, strings.Join(rules[folder], ", "))
		}
	})
}

func TestPlatformPackagesImportOnlyLowerLayers(t *testing.T) {
	eachImport(t, func(file, pkg, imported string, test bool) {
		to, ours := strings.CutPrefix(imported, module)
		if test || !ours || !strings.HasPrefix(pkg, "platform/") || !strings.HasPrefix(to, "platform/") {
			return
		}
		from, target := longest(pkg, layers), longest(to, layers)
		if from == "" || target == "" {
			t.Errorf("%s: %s or %s has no layer; add it to the list", file, pkg, to)
			return
		}
		if slices.Index(layers, target) > slices.Index(layers, from) {
			t.Errorf("%s: %s may not import %s, which is a higher layer", file, pkg, to)
		}
	})
}

func TestPureCoresImportNoOneElse(t *testing.T) {
	eachImport(t, func(file, pkg, imported string, test bool) {
		if test || !slices.Contains(pure, pkg) {
			return
		}
		if first, _, _ := strings.Cut(imported, "/"); strings.Contains(first, ".") && !strings.HasPrefix(imported, module) {
			t.Errorf("%s: %s is pure and may not import %s", file, pkg, imported)
		}
	})
}

func TestOneFolderOwnsEachEngine(t *testing.T) {
	eachImport(t, func(file, pkg, imported string, test bool) {
		for engine, owner := range owners {
			if !test && within(imported, engine) && !within(pkg, owner) {
				t.Errorf("%s: only %s may import %s", file, owner, engine)
			}
		}
	})
}

// eachImport visits every import of every Go file of this module.
func eachImport(t *testing.T, visit func(file, pkg, imported string, test bool)) {
	t.Helper()
	seen := 0
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			name := d.Name()
			if file != "." && (strings.HasPrefix(name, ".") || name == "sdk" || name == "examples" || name == "testdata" || name == "node_modules") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, imp := range f.Imports {
			name, err := strconv.Unquote(imp.Path.Value)
			if err != nil {
				return err
			}
			seen++
			visit(file, path.Dir(filepath.ToSlash(file)), name, strings.HasSuffix(file, "_test.go"))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 10 {
		t.Fatalf("only %d imports were seen: the walk is broken", seen)
	}
}

func longest(pkg string, folders []string) string {
	best := ""
	for _, f := range folders {
		if within(pkg, f) && len(f) > len(best) {
			best = f
		}
	}
	return best
}

func within(pkg, folder string) bool { return pkg == folder || strings.HasPrefix(pkg, folder+"/") }

func keys(m map[string][]string) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	return out
}

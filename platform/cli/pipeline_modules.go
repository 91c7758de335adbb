package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"connectrpc.com/connect"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/modules/bundle"
	"github.com/weirstream/weir/platform/planner/pipelinefile"
)

// pushNamed pushes the modules that a pipeline file names by paths which are
// there. A file that does not parse is left to the server, whose words have lines.
func (a *app) pushNamed(ctx context.Context, c *clients, file string, text []byte) error {
	parsed, problems := pipelinefile.Parse(text)
	if len(problems) > 0 || file == "-" {
		return nil
	}
	named := map[string]bool{parsed.Module.Value: true}
	for _, o := range parsed.Operators {
		named[o.Module.Value] = true
	}
	for path := range named {
		if !strings.HasSuffix(path, ".wasm") {
			continue
		}
		at := path
		if !filepath.IsAbs(at) {
			at = filepath.Join(filepath.Dir(file), filepath.FromSlash(path))
		}
		if _, err := os.Stat(at); errors.Is(err, fs.ErrNotExist) {
			continue // it may have been pushed before
		}
		if err := a.pushFile(ctx, c, at); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) pushFile(ctx context.Context, c *clients, path string) error {
	wasm, err := a.readFile(path, maxModuleBytes)
	if err != nil {
		return fmt.Errorf("read module: %w", err)
	}
	assets, err := bundle.Beside(path)
	if err != nil {
		return fmt.Errorf("push module %s: %w", path, err)
	}
	name := strings.TrimSuffix(filepath.Base(path), ".wasm")
	p := a.startProgress(waiting(fmt.Sprintf("pushing %s (%s): upload, check, compile", name, size(uint64(len(wasm))))))
	r, err := c.modules.PushModule(ctx, connect.NewRequest(&weirv1.PushModuleRequest{Namespace: a.namespace, Name: name, Wasm: wasm, Assets: assetMessages(assets)}))
	p.end()
	if err != nil {
		return fmt.Errorf("push module %q: %w", name, err)
	}
	if !r.Msg.GetUnchanged() {
		a.confirm("pushed module %s from %s", name, path)
	}
	return nil
}

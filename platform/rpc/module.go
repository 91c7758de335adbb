package rpc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/weirstream/weir/abi/frame"
	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/modules"
	"github.com/weirstream/weir/platform/topics"
	"github.com/weirstream/weir/raftmeta"
	"github.com/weirstream/weir/raftmeta/catalog"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// maxModules bounds a list of modules.
const maxModules = 10000

// moduleHandler answers ModuleService.
type moduleHandler struct {
	node  *raftmeta.Node
	store *modules.Store
}

func (h *moduleHandler) PushModule(ctx context.Context, r *connect.Request[weirv1.PushModuleRequest]) (*connect.Response[weirv1.PushModuleResponse], error) {
	return unary(ctx, r, h.push)
}

func (h *moduleHandler) GetModule(ctx context.Context, r *connect.Request[weirv1.GetModuleRequest]) (*connect.Response[weirv1.GetModuleResponse], error) {
	return unary(ctx, r, h.get)
}

func (h *moduleHandler) ListModules(ctx context.Context, r *connect.Request[weirv1.ListModulesRequest]) (*connect.Response[weirv1.ListModulesResponse], error) {
	return unary(ctx, r, h.list)
}

func (h *moduleHandler) DeleteModule(ctx context.Context, r *connect.Request[weirv1.DeleteModuleRequest]) (*connect.Response[weirv1.DeleteModuleResponse], error) {
	return unary(ctx, r, h.delete)
}

func (h *moduleHandler) push(ctx context.Context, r *weirv1.PushModuleRequest) (*weirv1.PushModuleResponse, error) {
	namespace := topics.Namespace(r.GetNamespace())
	what := "push module " + r.GetName()
	if n := len(r.GetWasm()); n == 0 || n > MaxModuleBytes {
		return nil, fmt.Errorf("%s: %w: it has %d bytes, 1 to %d are allowed; strip debug information", what, modules.ErrRefused, n, MaxModuleBytes)
	}
	// Asked before the module is compiled: a name that cannot be would be refused after all that work.
	if _, ok := h.node.View().Namespace(namespace); !ok {
		return nil, fmt.Errorf("%s: namespace %q does not exist; create it first: weir namespace create %s: %w", what, namespace, namespace, catalog.ErrNotFound)
	}
	var assets []frame.Asset
	for _, a := range r.GetAssets() {
		assets = append(assets, frame.Asset{Name: a.GetName(), Data: a.GetData()})
	}
	pushed, err := h.store.Push(ctx, r.GetWasm(), assets...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	result, err := h.node.Propose(ctx, &catalog.PushModule{
		At: time.Now().UnixMicro(), Namespace: namespace, Name: r.GetName(), Digest: catalog.Digest(pushed.Digest),
		Manifest: catalog.Digest(pushed.ManifestDigest), SizeBytes: pushed.SizeBytes,
	})
	if err != nil {
		return nil, err
	}
	m, ok := h.node.View().Module(namespace, r.GetName())
	if !ok {
		return nil, fmt.Errorf("%s: it was deleted again meanwhile: %w", what, catalog.ErrConflict)
	}
	out := &weirv1.PushModuleResponse{Module: moduleMessage(m, m.Latest()), Unchanged: result.Unchanged, Warnings: pushed.Warnings}
	for i := range pushed.Manifest.Functions {
		out.Functions = append(out.Functions, pushed.Manifest.Functions[i].Name)
	}
	return out, nil
}

func moduleMessage(m *catalog.Module, v catalog.ModuleVersion) *weirv1.Module {
	out := &weirv1.Module{
		Namespace: m.Namespace, Name: m.Name, Digest: "sha256:" + v.Digest.String(), SizeBytes: uint64(max(v.SizeBytes, 0)),
		Pushed: timestamppb.New(time.UnixMicro(v.Pushed)),
	}
	for _, v := range slices.Backward(m.Versions) {
		out.Versions = append(out.Versions, "sha256:"+v.Digest.String())
	}
	return out
}

// find finds a version of a module by name or name@sha256:<hex>.
func (h *moduleHandler) find(what, namespace, name string) (*catalog.Module, catalog.ModuleVersion, error) {
	name, version, pinned := strings.Cut(name, "@")
	m, ok := h.node.View().Module(topics.Namespace(namespace), name)
	if !ok {
		return nil, catalog.ModuleVersion{}, fmt.Errorf("%s module %q: there is no such module in namespace %s: %w", what, name, topics.Namespace(namespace), catalog.ErrNotFound)
	}
	if !pinned {
		return m, m.Latest(), nil
	}
	d, err := jobgraph.ParseDigest(strings.TrimPrefix(version, "sha256:"))
	if err != nil {
		return nil, catalog.ModuleVersion{}, fmt.Errorf("%s module %s: %w: %w; write NAME@sha256:<64 digits>", what, name, err, catalog.ErrInvalid)
	}
	v, ok := m.Version(d)
	if !ok {
		return nil, catalog.ModuleVersion{}, fmt.Errorf("%s module %s: it has no version %s: %w", what, name, d.Short(), catalog.ErrNotFound)
	}
	return m, v, nil
}

func (h *moduleHandler) get(ctx context.Context, r *weirv1.GetModuleRequest) (*weirv1.GetModuleResponse, error) {
	m, v, err := h.find("get", r.GetNamespace(), r.GetName())
	if err != nil {
		return nil, err
	}
	manifest, err := h.store.Manifest(ctx, v.Digest.String())
	if err != nil {
		return nil, fmt.Errorf("get module %s: read its manifest: %w", m.Name, err)
	}
	text, err := manifest.Marshal()
	if err != nil {
		return nil, fmt.Errorf("get module %s: %w", m.Name, err)
	}
	out := &weirv1.GetModuleResponse{Module: moduleMessage(m, v), ManifestJson: string(text)}
	assets, err := h.store.Assets(ctx, v.Digest.String())
	if err != nil {
		return nil, fmt.Errorf("get module %s: %w", m.Name, err)
	}
	for _, a := range assets {
		out.Assets = append(out.Assets, &weirv1.AssetInfo{Name: a.Name, SizeBytes: uint64(len(a.Data))})
	}
	for p := range h.node.View().Pipelines(m.Namespace) {
		if slices.Contains(p.Current.Modules, v.Digest) {
			out.UsedBy = append(out.UsedBy, p.Name)
		}
	}
	return out, nil
}

func (h *moduleHandler) list(_ context.Context, r *weirv1.ListModulesRequest) (*weirv1.ListModulesResponse, error) {
	out := &weirv1.ListModulesResponse{}
	for m := range h.node.View().Modules(topics.Namespace(r.GetNamespace())) {
		if len(out.Modules) == maxModules {
			return nil, fmt.Errorf("list modules: there are more than %d, the limit of a list; use several namespaces: %w", maxModules, catalog.ErrTooLarge)
		}
		out.Modules = append(out.Modules, moduleMessage(m, m.Latest()))
	}
	return out, nil
}

// delete removes a module with all its versions, or one version of it. Its
// bytes stay: another name may keep the same.
func (h *moduleHandler) delete(ctx context.Context, r *weirv1.DeleteModuleRequest) (*weirv1.DeleteModuleResponse, error) {
	m, v, err := h.find("delete", r.GetNamespace(), r.GetName())
	if err != nil {
		return nil, err
	}
	c := &catalog.DeleteModule{At: time.Now().UnixMicro(), Namespace: m.Namespace, Name: m.Name}
	if strings.Contains(r.GetName(), "@") {
		c.Digest = v.Digest
	}
	if _, err := h.node.Propose(ctx, c); err != nil {
		if errors.Is(err, catalog.ErrInUse) {
			err = &hinted{err, h.usersHint(m, c.Digest)}
		}
		return nil, err
	}
	return &weirv1.DeleteModuleResponse{}, nil
}

// maxUsersShown bounds the pipelines that a hint names.
const maxUsersShown = 10

// usersHint names the pipelines that keep a module, or one version of it, from being deleted.
func (h *moduleHandler) usersHint(m *catalog.Module, version catalog.Digest) string {
	var users []string
	more := 0
	for p := range h.node.View().Pipelines(m.Namespace) {
		uses := slices.ContainsFunc(m.Versions, func(v catalog.ModuleVersion) bool {
			return (version.IsZero() || v.Digest == version) && slices.Contains(p.Current.Modules, v.Digest)
		})
		switch {
		case uses && len(users) < maxUsersShown:
			users = append(users, p.Name)
		case uses:
			more++
		}
	}
	if len(users) == 0 {
		return "try again: the pipeline that used it has gone"
	}
	names := strings.Join(users, ", ")
	if more > 0 {
		names += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Sprintf("used by %s: apply files without it (weir pipeline apply FILE), or weir pipeline delete %s", names, users[0])
}

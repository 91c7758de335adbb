package catalog

import "slices"

// MaxModuleVersions bounds the versions that a module name keeps.
const MaxModuleVersions = 64

// Module is a name with its versions, newest last. The bytes are blobs, named by digest.
type Module struct {
	Namespace string          `json:"namespace"`
	Name      string          `json:"name"`
	Versions  []ModuleVersion `json:"versions"`
	Changed   uint64          `json:"changed"`
}

// ModuleVersion is one upload.
type ModuleVersion struct {
	Digest    Digest `json:"digest"`   // of the bundle
	Manifest  Digest `json:"manifest"` // of what describe said
	SizeBytes int64  `json:"size_bytes"`
	Pushed    int64  `json:"pushed"`
}

// Latest is the version that was pushed last.
func (m *Module) Latest() ModuleVersion { return m.Versions[len(m.Versions)-1] }

// Version finds a version by its digest.
func (m *Module) Version(d Digest) (ModuleVersion, bool) {
	i := slices.IndexFunc(m.Versions, func(v ModuleVersion) bool { return v.Digest == d })
	if i < 0 {
		return ModuleVersion{}, false
	}
	return m.Versions[i], true
}

// PushModule adds a version. Pushing a digest that the name has already makes it the latest again.
type PushModule struct {
	At        int64  `json:"at"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Digest    Digest `json:"digest"`
	Manifest  Digest `json:"manifest"`
	SizeBytes int64  `json:"size_bytes"`
}

func (c *PushModule) apply(tx *txn) error {
	what := "push module " + c.Name
	if err := checkName("module", c.Name); err != nil {
		return err
	}
	if err := tx.requireNamespace(what, c.Namespace); err != nil {
		return err
	}
	if c.Digest.IsZero() || c.Manifest.IsZero() || c.SizeBytes <= 0 {
		return refuse(ErrInvalid, "%s: it needs a digest, a manifest and a size", what)
	}
	before := tx.Used(c.Namespace)
	next := &Module{Namespace: c.Namespace, Name: c.Name, Changed: tx.Revision}
	if old, ok := tx.Module(c.Namespace, c.Name); ok {
		last := old.Latest()
		if last.Digest == c.Digest && last.Manifest == c.Manifest {
			return nil
		}
		next.Versions = slices.DeleteFunc(slices.Clone(old.Versions), func(v ModuleVersion) bool { return v.Digest == c.Digest })
	}
	if len(next.Versions) >= MaxModuleVersions {
		return refuse(ErrTooLarge, "%s: it keeps %d versions, the limit; delete old ones", what, MaxModuleVersions)
	}
	next.Versions = append(next.Versions, ModuleVersion{Digest: c.Digest, Manifest: c.Manifest, SizeBytes: c.SizeBytes, Pushed: c.At})
	tx.modules = tx.modules.with(Key(c.Namespace, c.Name), next)
	tx.changed(KindModule, Key(c.Namespace, c.Name))
	return tx.within(what, c.Namespace, before)
}

// DeleteModule removes one version, or the whole name when Digest is zero.
type DeleteModule struct {
	At        int64  `json:"at"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Digest    Digest `json:"digest"`
}

func (c *DeleteModule) apply(tx *txn) error {
	what := "delete module " + c.Name
	m, ok := tx.Module(c.Namespace, c.Name)
	if !ok {
		return refuse(ErrNotFound, "%s: see the list of modules", what)
	}
	if _, ok := m.Version(c.Digest); !ok && !c.Digest.IsZero() {
		return refuse(ErrNotFound, "%s: it has no version %s", what, c.Digest.Short())
	}
	for _, v := range m.Versions {
		if !c.Digest.IsZero() && v.Digest != c.Digest {
			continue
		}
		if user := tx.moduleUser(c.Namespace, v.Digest); user != "" && !tx.pushedElsewhere(c.Namespace, c.Name, v.Digest) {
			return refuse(ErrInUse, "%s: pipeline %s uses version %s; apply a revision without it or delete the pipeline", what, user, v.Digest.Short())
		}
	}
	next := *m
	next.Changed = tx.Revision
	next.Versions = slices.DeleteFunc(slices.Clone(m.Versions), func(v ModuleVersion) bool { return v.Digest == c.Digest })
	if c.Digest.IsZero() || len(next.Versions) == 0 {
		tx.modules = tx.modules.without(Key(c.Namespace, c.Name))
		tx.deleted(KindModule, Key(c.Namespace, c.Name))
		return nil
	}
	tx.modules = tx.modules.with(Key(c.Namespace, c.Name), &next)
	tx.changed(KindModule, Key(c.Namespace, c.Name))
	return nil
}

func (s *State) moduleUser(namespace string, d Digest) string {
	for p := range s.Pipelines(namespace) {
		if slices.Contains(p.Current.Modules, d) {
			return p.Name
		}
	}
	return ""
}

// pushedElsewhere tells whether another name of the namespace keeps the same bytes.
func (s *State) pushedElsewhere(namespace, name string, d Digest) bool {
	for m := range s.Modules(namespace) {
		if _, ok := m.Version(d); ok && m.Name != name {
			return true
		}
	}
	return false
}

func (s *State) hasModule(namespace string, d Digest) bool {
	return s.pushedElsewhere(namespace, "", d)
}

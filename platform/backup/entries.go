package backup

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/weirstream/weir/platform/backup/archive"
	"github.com/weirstream/weir/platform/connector/jetstream"
	"github.com/weirstream/weir/raftmeta/catalog"
)

func (p *plan) now() int64 { return p.r.service.now() }

func limitsOf(n *archive.Namespace) catalog.Limits {
	return catalog.Limits{
		Slots: n.Slots, Pipelines: n.Pipelines, Modules: n.Modules, ModuleBytes: n.ModuleBytes,
		Guests: catalog.GuestLimits{Share: n.GuestShare, MemoryBytes: n.GuestMemory},
	}
}

func (p *plan) namespace(n *archive.Namespace) {
	old, ok := p.view.Namespace(n.Name)
	switch {
	case !ok:
		p.add("namespace", "", n.Name, doneMade, step{command: func() catalog.Command { return &catalog.CreateNamespace{At: p.now(), Name: n.Name} }})
	case old.Limits != (catalog.Limits{}) && old.Limits != limitsOf(n):
		p.clash("namespace", n.Name, "its limits are others")
	default:
		p.add("namespace", "", n.Name, doneThere, step{})
	}
}

func (p *plan) limits(n *archive.Namespace) {
	old, ok := p.view.Namespace(n.Name)
	l := limitsOf(n)
	if l == (catalog.Limits{}) || ok && old.Limits == l {
		return
	}
	p.add("limits", "", n.Name, doneMade, step{command: func() catalog.Command {
		return &catalog.SetLimits{At: p.now(), Namespace: n.Name, Limits: catalog.LimitChange{
			Slots: &l.Slots, Pipelines: &l.Pipelines, Modules: &l.Modules, ModuleBytes: &l.ModuleBytes, GuestShare: &l.Guests.Share, GuestMemory: &l.Guests.MemoryBytes,
		}}
	}})
}

func (p *plan) token(t *archive.Token) {
	old, ok := p.view.Token(t.ID)
	switch {
	case t.Expires != 0 && t.Expires <= p.now():
		p.add("token", t.Namespace, t.ID, doneLeftOut, step{}).entry.Note = "it has expired"
	case !ok:
		p.add("token", t.Namespace, t.ID, doneMade, step{command: func() catalog.Command {
			return &catalog.CreateToken{At: p.now(), ID: t.ID, Role: catalog.Role(t.Role), Namespace: t.Namespace, Hash: t.Hash, Label: t.Label, Expires: t.Expires}
		}})
	case old.Hash != t.Hash || string(old.Role) != t.Role || old.Namespace != t.Namespace:
		p.clash("token", t.ID, "it is another")
	default:
		p.add("token", t.Namespace, t.ID, doneThere, step{})
	}
}

// secrets takes sealed values as they are, if this server can open them.
func (p *plan) secrets(list []archive.Secret) {
	if len(list) == 0 {
		return
	}
	key, err := p.r.service.options.Secrets.Key()
	if err != nil {
		p.bad = append(p.bad, hint(fmt.Errorf("%d secrets, sealed with key %s: %w", len(list), list[0].Key, err), "%s", secretsHint))
		return
	}
	for i := range list {
		v := &list[i]
		if _, err := key.Open(v.Namespace, v.Name, v.Key, v.Sealed); err != nil {
			p.bad = append(p.bad, hint(fmt.Errorf("namespace %s: %w", v.Namespace, err), "%s", secretsHint))
			continue
		}
		old, ok := p.view.Secret(v.Namespace, v.Name)
		switch {
		case !ok:
			p.add("secret", v.Namespace, v.Name, doneMade, step{command: func() catalog.Command {
				return &catalog.SetSecret{At: p.now(), Namespace: v.Namespace, Name: v.Name, Key: v.Key, Sealed: v.Sealed}
			}})
		case !slices.Equal(old.Sealed, v.Sealed):
			p.clash("secret", catalog.Key(v.Namespace, v.Name), "it was set anew")
		default:
			p.add("secret", v.Namespace, v.Name, doneThere, step{})
		}
	}
}

const secretsHint = "start the server with the key file of the cluster that was backed up (--secrets-key-file, or secrets.key of its data directory), or leave secrets out by --without-secrets"

func (p *plan) module(m *archive.Module) {
	var had []catalog.ModuleVersion
	if old, ok := p.view.Module(m.Namespace, m.Name); ok {
		had = old.Versions
	}
	for i, v := range had {
		if i >= len(m.Versions) || m.Versions[i].Digest != v.Digest || m.Versions[i].Manifest != v.Manifest {
			p.clash("module", catalog.Key(m.Namespace, m.Name), "its versions are others")
			return
		}
	}
	if len(had) == len(m.Versions) {
		p.add("module", m.Namespace, m.Name, doneThere, step{})
		return
	}
	for _, v := range m.Versions[len(had):] {
		p.add("module", m.Namespace, m.Name, doneMade, step{command: func() catalog.Command {
			return &catalog.PushModule{At: p.now(), Namespace: m.Namespace, Name: m.Name, Digest: v.Digest, Manifest: v.Manifest, SizeBytes: v.SizeBytes}
		}}).entry.Note = "version " + v.Digest.Short()
	}
}

// restoredTopic is a topic of the backup and what this cluster has for it.
type restoredTopic struct {
	topic *catalog.Topic // as it will be; of an empty one the incarnation is not known yet
	empty bool
}

// topic binds a topic to its stream, if that is there.
func (p *plan) topic(ctx context.Context, t *archive.Topic) (*restoredTopic, error) {
	key := catalog.Key(t.Namespace, t.Name)
	out := &restoredTopic{topic: &catalog.Topic{
		Namespace: t.Namespace, Name: t.Name, Incarnation: t.Incarnation, Partitions: t.Partitions, Layout: catalog.Layout(t.Layout), Stream: t.Stream, Subject: t.Subject,
		Replicas: t.Replicas, Retention: catalog.Retention{MaxAgeMs: t.MaxAgeMs, MaxBytes: t.MaxBytes, MaxMessages: t.MaxMessages}, System: t.System, Origin: p.r.header.Cluster,
	}}
	service := p.r.service.options.Topics
	after := func(ctx context.Context) error { return service.Ensure(ctx, t.Namespace, t.Name) }
	at, found, err := service.Stand(ctx, out.topic)
	if old, ok := p.view.Topic(t.Namespace, t.Name); ok {
		if old.Origin != p.r.header.Cluster || old.Partitions != t.Partitions || old.Layout != out.topic.Layout || old.Stream != t.Stream || old.Subject != t.Subject {
			p.clash("topic", key, "it is another")
			return out, nil
		}
		out.topic, out.empty = old, !found // an earlier try may have ended before its stream
		if err == nil {
			p.add("topic", t.Namespace, t.Name, doneThere, step{after: after})
			return out, nil
		}
	}
	switch {
	case err != nil && !errors.Is(err, jetstream.ErrUnfit):
		return out, fmt.Errorf("look for the stream of topic %s: %w", key, err)
	case err != nil:
		p.bad = append(p.bad, hint(fmt.Errorf("topic %s: %w", key, err), "its stream %s is in NATS and not what a topic needs; rename or delete it, or restore with another NATS", t.Stream))
		return out, nil
	case found && at.Incarnation == 0:
		p.bad = append(p.bad, hint(refuse(catalog.ErrExists, "topic %s: NATS has a stream %s that Weir did not make", key, t.Stream), "keep what is in it elsewhere, then: nats stream rm %s", t.Stream))
		return out, nil
	}
	c := &catalog.CreateTopic{
		Namespace: t.Namespace, Name: t.Name, Partitions: t.Partitions, Layout: out.topic.Layout, Stream: t.Stream, Subject: t.Subject, Replicas: t.Replicas,
		Retention: out.topic.Retention, System: t.System, Origin: p.r.header.Cluster, Incarnation: at.Incarnation, Above: p.r.catalog.Incarnations,
	}
	done, note := doneBound, fmt.Sprintf("stream %s holds %d messages", t.Stream, at.Messages)
	out.topic.Incarnation = at.Incarnation
	switch {
	case !found:
		done, note, out.empty = doneEmpty, "there is no stream "+t.Stream, true
		c.Replicas = service.Replicas() // what this NATS can
	case at.Incarnation != t.Incarnation:
		note += fmt.Sprintf("; it was made anew since the backup, as incarnation %d after %d", at.Incarnation, t.Incarnation)
	}
	p.add("topic", t.Namespace, t.Name, done, step{after: after, command: func() catalog.Command {
		next := *c
		next.At = p.now()
		return &next
	}}).entry.Note = note
	return out, nil
}

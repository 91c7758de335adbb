package backup

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/backup/archive"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// stopLimit bounds how long pipelines may take to stop.
const stopLimit = 10 * time.Minute

// sender sends messages of several goroutines, one after the other.
type sender struct {
	mu   sync.Mutex // held while a message is sent
	send func(*weirv1.CreateBackupResponse) error
}

func (s *sender) message(m *weirv1.CreateBackupResponse) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.send(m)
}

// doing tells who waits what is under way. A caller that is gone is found by the next piece.
func (s *sender) doing(text string, args ...any) {
	_ = s.message(&weirv1.CreateBackupResponse{Doing: fmt.Sprintf(text, args...)})
}

// Create makes a backup and sends it, piece by piece.
func (s *Service) Create(ctx context.Context, r *weirv1.CreateBackupRequest, send func(*weirv1.CreateBackupResponse) error) error {
	const what = "create backup"
	if err := s.leads(what); err != nil {
		return err
	}
	only := r.GetOnlyNamespace()
	if _, ok := s.options.Node.View().Namespace(only); only != "" && !ok {
		return errNamespace(what, only, "this cluster")
	}
	if r.GetNoSavepoints() && (r.GetAllSavepoints() || r.GetIncomplete() || r.GetStop()) {
		return refuse(catalog.ErrInvalid, "%s: without savepoints there is nothing to stop for, to add or to leave out", what)
	}
	out := &sender{send: send}
	summary, err := s.create(ctx, r, out)
	switch {
	case err != nil && r.GetStop():
		return hint(fmt.Errorf("%s: %w", what, err), "pipelines were told to stop and stay so; weir pipeline resume NAME starts one")
	case err != nil:
		return fmt.Errorf("%s: %w", what, err)
	}
	return out.message(&weirv1.CreateBackupResponse{Summary: SummaryMessage(summary)})
}

func (s *Service) create(ctx context.Context, r *weirv1.CreateBackupRequest, out *sender) (*archive.Summary, error) {
	ran, err := s.stop(ctx, r, out)
	if err != nil {
		return nil, err
	}
	set := &savepointSet{service: s, request: r, out: out, ran: ran}
	defer set.forget()
	if err := set.take(ctx); err != nil {
		return nil, err
	}
	return s.write(ctx, set, out)
}

// stop stops the pipelines, if that was asked for, and tells which were to run.
func (s *Service) stop(ctx context.Context, r *weirv1.CreateBackupRequest, out *sender) (map[string]bool, error) {
	ran := map[string]bool{}
	if !r.GetStop() {
		return ran, nil
	}
	ctx, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	for p := range s.options.Node.View().Pipelines(r.GetOnlyNamespace()) {
		if p.Desired != catalog.DesiredRunning {
			continue
		}
		ran[p.UID] = true
		if _, err := s.options.Node.Propose(ctx, &catalog.SetDesired{At: s.now(), UID: p.UID, Desired: catalog.DesiredStopped}); err != nil && !isGone(err) {
			return nil, err
		}
	}
	for update := range s.options.Node.Watch(ctx, 0) {
		var left []string
		for p := range update.State.Pipelines(r.GetOnlyNamespace()) {
			if p.Job.State.Active() && p.Desired == catalog.DesiredStopped {
				left = append(left, catalog.Key(p.Namespace, p.Name))
			}
		}
		if len(left) == 0 {
			return ran, nil
		}
		out.doing("stopping %d pipelines, %s among them", len(left), left[0])
	}
	return nil, hint(refuse(context.Cause(ctx), "pipelines did not stop in time; they are to stop, and weir pipeline resume starts them"), "weir pipeline list tells which run still")
}

// write writes the archive of what the savepoints were taken of.
func (s *Service) write(ctx context.Context, set *savepointSet, out *sender) (*archive.Summary, error) {
	c, saved := set.records()
	header := archive.Header{
		Weir: s.options.Version, Cluster: set.view.Settings.ClusterID, Created: s.options.Clock().UTC().Truncate(time.Second),
		Namespace: set.request.GetOnlyNamespace(), Warnings: set.warnings,
	}
	p := &pieces{send: func(b []byte) error { return out.message(&weirv1.CreateBackupResponse{Data: b}) }}
	w, err := archive.NewWriter(p)
	if err != nil {
		return nil, err
	}
	if err := w.Begin(header, c); err != nil {
		return nil, err
	}
	if err := s.objects(ctx, w, set.view); err != nil {
		return nil, err
	}
	for i, sp := range saved {
		out.doing("writing savepoint %d of %d, of pipeline %s", i+1, len(saved), catalog.Key(sp.Namespace, sp.Pipeline))
		err := w.Savepoint(func(to io.Writer) error { return s.options.Savepoints.Write(ctx, sp, to) })
		if err != nil {
			return nil, fmt.Errorf("savepoint %s of pipeline %s: %w", sp.ID, catalog.Key(sp.Namespace, sp.Pipeline), err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return &archive.Summary{Header: header, Catalog: c, Bytes: w.Bytes()}, p.flush()
}

// objects writes graphs, files and modules.
func (s *Service) objects(ctx context.Context, w *archive.Writer, view *catalog.State) error {
	graphs, specs := map[catalog.Digest][]byte{}, map[catalog.Digest][]byte{}
	wanted := w.Objects(archive.Graphs)
	for p := range view.Pipelines("") {
		if !slices.Contains(wanted, p.Current.Graph) {
			continue
		}
		graph, file, err := s.options.Pipelines.Definition(ctx, &p.Current)
		if err != nil {
			return fmt.Errorf("pipeline %s: %w", catalog.Key(p.Namespace, p.Name), err)
		}
		graphs[p.Current.Graph], specs[p.Current.Spec] = graph, file
	}
	for _, d := range wanted {
		if err := w.Object(archive.Graphs, d, graphs[d]); err != nil {
			return err
		}
	}
	for _, d := range w.Objects(archive.Specs) {
		if err := w.Object(archive.Specs, d, specs[d]); err != nil {
			return err
		}
	}
	for _, kind := range []archive.Kind{archive.Manifests, archive.Modules} {
		for _, d := range w.Objects(kind) {
			whole, text, err := s.options.Modules.Raw(ctx, d.String())
			if err != nil {
				return err
			}
			if kind == archive.Manifests {
				whole = text
			}
			if err := w.Object(kind, d, whole); err != nil {
				return err
			}
		}
	}
	return nil
}

// Package backup carries what a cluster knows into one archive, and from there into
// another cluster: names, definitions, modules, sealed secrets and savepoints. It
// must not know how calls reach it, nor how any of these is made otherwise.
package backup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/auth/secrets"
	"github.com/weirstream/weir/platform/backup/archive"
	"github.com/weirstream/weir/platform/modules"
	"github.com/weirstream/weir/platform/pipelines"
	"github.com/weirstream/weir/platform/savepoints"
	"github.com/weirstream/weir/platform/topics"
	"github.com/weirstream/weir/raftmeta"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// PieceBytes is the size of the pieces in which an archive travels.
const PieceBytes = 1 << 20

// Options is what a service needs.
type Options struct {
	Node       *raftmeta.Node
	Topics     *topics.Service
	Modules    *modules.Store
	Pipelines  *pipelines.Service
	Savepoints *savepoints.Service
	Secrets    *secrets.Ring
	// Make makes a savepoint of a pipeline and waits for it; the leader's part.
	Make    func(ctx context.Context, uid, label string) (id string, err error)
	Version string
	Clock   func() time.Time
}

// Service makes backups and restores them.
type Service struct{ options Options }

// New makes a service.
func New(o Options) *Service {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	return &Service{options: o}
}

func (s *Service) now() int64 { return s.options.Clock().UnixMicro() }

// leads refuses what only the leader can do.
func (s *Service) leads(what string) error {
	if s.options.Node.Leads() {
		return nil
	}
	_, address := s.options.Node.Leader()
	return fmt.Errorf("%s: %w (it is at %s)", what, raftmeta.ErrNotLeader, address)
}

// hinted is an error with what to do next.
type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }

// Hint is what to do next.
func (h *hinted) Hint() string { return h.hint }

func hint(err error, text string, args ...any) error { return &hinted{err, fmt.Sprintf(text, args...)} }

func refuse(kind error, format string, args ...any) error {
	return fmt.Errorf("%w: %w", fmt.Errorf(format, args...), kind)
}

// errNamespace refuses a namespace that is not where it is looked for.
func errNamespace(what, name, where string) error {
	return hint(refuse(catalog.ErrNotFound, "%s: there is no namespace %q in %s", what, name, where), "leave --namespace out to take all of them")
}

// SummaryMessage says what an archive holds.
func SummaryMessage(s *archive.Summary) *weirv1.BackupSummary {
	c := s.Catalog
	return &weirv1.BackupSummary{
		Cluster: s.Header.Cluster, Version: s.Header.Weir, Created: timestamppb.New(s.Header.Created),
		Namespaces: uint32(len(c.Namespaces)), Tokens: uint32(len(c.Tokens)), Secrets: uint32(len(c.Secrets)), Modules: uint32(len(c.Modules)),
		Topics: uint32(len(c.Topics)), Pipelines: uint32(len(c.Pipelines)), Savepoints: uint32(len(c.Savepoints)),
		Bytes: uint64(max(s.Bytes, 0)), Warnings: s.Header.Warnings,
	}
}

// pieces cuts what is written into messages.
type pieces struct {
	send func([]byte) error
	buf  []byte
}

func (p *pieces) Write(b []byte) (int, error) {
	p.buf = append(p.buf, b...)
	for len(p.buf) >= PieceBytes {
		if err := p.send(p.buf[:PieceBytes]); err != nil {
			return 0, err
		}
		p.buf = append(p.buf[:0], p.buf[PieceBytes:]...)
	}
	return len(b), nil
}

func (p *pieces) flush() error {
	if len(p.buf) == 0 {
		return nil
	}
	return p.send(p.buf)
}

// isGone tells that a savepoint or pipeline was deleted meanwhile.
func isGone(err error) bool { return errors.Is(err, catalog.ErrNotFound) }

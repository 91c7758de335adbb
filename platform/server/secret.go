package server

import (
	"context"
	"errors"
	"fmt"

	"github.com/weirstream/weir/platform/auth/secrets"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/rpc"
	"github.com/weirstream/weir/platform/worker"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// findSecret gives a value to a connector that opens. From then on the value is
// taken out of whatever this process says.
func (s *Server) findSecret(ctx context.Context, namespace, name string) (string, error) {
	var value []byte
	var err error
	if s.node != nil {
		value, err = rpc.OpenSecret(s.node.View(), s.ring, namespace, name)
	} else {
		ctx, cancel := context.WithTimeout(ctx, topicLimit)
		defer cancel()
		value, err = s.client.OpenSecret(ctx, namespace, name)
	}
	switch {
	case errors.Is(err, catalog.ErrNotFound):
		return "", fmt.Errorf("there is no secret %s in namespace %s: %w", name, namespace, connector.ErrPermanent)
	case errors.Is(err, secrets.ErrKey), errors.Is(err, secrets.ErrDamaged):
		return "", fmt.Errorf("%w: %w", err, connector.ErrPermanent)
	case err != nil:
		return "", fmt.Errorf("open secret %s: %w", name, err)
	}
	s.hidden.Hide(string(value))
	return string(value), nil
}

// discreet is a reporter that takes secrets out of what it reports.
type discreet struct {
	worker.Reporter
	hidden *secrets.Redactor
}

// Failed implements worker.Reporter.
func (d discreet) Failed(f worker.Failure) {
	f.Err = d.hidden.Error(f.Err)
	d.Reporter.Failed(f)
}

// Stuck implements worker.Reporter.
func (d discreet) Stuck(uid string, attempt, checkpoint uint64, text string) {
	d.Reporter.Stuck(uid, attempt, checkpoint, d.hidden.Text(text))
}

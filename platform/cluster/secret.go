package cluster

import (
	"context"
	"errors"
	"fmt"

	"connectrpc.com/connect"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/api/weir/v1/weirv1connect"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// OpenSecret asks for a secret's value; catalog.ErrNotFound if there is none. The
// value travels as the connection does: in clear without TLS.
func (c *Client) OpenSecret(ctx context.Context, namespace, name string) ([]byte, error) {
	var value []byte
	err := c.ask(ctx, func(weirv1connect.ClusterServiceClient) error {
		r, err := weirv1connect.NewSecretServiceClient(c.http, c.URL()).OpenSecret(ctx, connect.NewRequest(&weirv1.OpenSecretRequest{Namespace: namespace, Name: name}))
		if err == nil {
			value = r.Msg.GetValue()
		}
		return err
	})
	if errors.Is(err, ErrUnknownWorker) { // the code of what is not there
		return nil, fmt.Errorf("secret %s in namespace %s: %w", name, namespace, catalog.ErrNotFound)
	}
	return value, err
}

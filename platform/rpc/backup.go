package rpc

import (
	"context"
	"io"

	"connectrpc.com/connect"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/backup"
)

// backupHandler answers BackupService.
type backupHandler struct{ backup *backup.Service }

func (h *backupHandler) CreateBackup(ctx context.Context, r *connect.Request[weirv1.CreateBackupRequest], s *connect.ServerStream[weirv1.CreateBackupResponse]) error {
	return h.backup.Create(ctx, r.Msg, s.Send)
}

func (h *backupHandler) RestoreBackup(ctx context.Context, s *connect.ClientStream[weirv1.RestoreBackupRequest]) (*connect.Response[weirv1.RestoreBackupResponse], error) {
	a, err := h.backup.Restore(ctx, func() (*weirv1.RestoreBackupRequest, error) {
		if s.Receive() {
			return s.Msg(), nil
		}
		if err := s.Err(); err != nil {
			return nil, err
		}
		return nil, io.EOF
	})
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(a), nil
}

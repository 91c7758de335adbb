package server

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/weirstream/weir/platform/auth"
	"github.com/weirstream/weir/platform/auth/audit"
	"github.com/weirstream/weir/platform/auth/secrets"
	"github.com/weirstream/weir/platform/rpc"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// Files in the data folder.
const (
	firstTokenFile = "admin.token" // of a server that asks for tokens
	secretsKeyFile = "secrets.key" // of a controller to which none was named
	auditFile      = "audit.log"
)

// gate is nil on a server that only this machine reaches and that nobody told to ask for tokens.
func (s *Server) gate() *rpc.Gate {
	if !s.gated {
		return nil
	}
	return rpc.NewGate(s.node, s.options.Clock, s.log().With("part", "auth"))
}

// openSecurity opens what a controller has of its own: the key of secrets, the audit log.
func (s *Server) openSecurity() (err error) {
	if !s.options.has(RoleController) {
		return nil
	}
	if s.ring, err = secrets.OpenRing(s.options.SecretsKeyFile, filepath.Join(s.options.DataDir, secretsKeyFile)); err != nil {
		return err
	}
	s.audit, err = audit.Open(filepath.Join(s.options.DataDir, auditFile), s.options.Log.With("part", "audit"))
	return err
}

// keepAudit has gathered lines written now and then.
func (s *Server) keepAudit(ctx context.Context) {
	if s.audit != nil {
		s.tasks.Go(func() { s.audit.Run(ctx) })
	}
}

// firstToken makes an admin's token if there is none: without it nobody could make
// others. The file is written first, so that a crash between leaves a token that is
// good for nothing rather than one that nobody knows; the next start overwrites it.
func (s *Server) firstToken(ctx context.Context) error {
	if !s.gated {
		return nil
	}
	now := time.Now().UnixMicro()
	for t := range s.node.View().Tokens() {
		if t.Role == catalog.RoleAdmin && t.Namespace == "" && t.Live(now) {
			return nil
		}
	}
	t := auth.NewToken()
	file := filepath.Join(s.options.DataDir, firstTokenFile)
	if err := writePrivate(file, []byte(t.Reveal()+"\n")); err != nil {
		return fmt.Errorf("write the first token: %w", err)
	}
	if _, err := s.node.Propose(ctx, &catalog.CreateToken{At: now, ID: t.ID, Role: catalog.RoleAdmin, Hash: t.Hash(), Label: "the first, in " + firstTokenFile}); err != nil {
		return fmt.Errorf("enter the first token: %w", err)
	}
	s.log().Info("there was no admin's token: one was made", "file", file, "token", t.ID)
	return nil
}

// writePrivate replaces a file that only the server's user may read, whole or not at all.
func writePrivate(file string, text []byte) error {
	draft, err := os.OpenFile(file+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = draft.Write(text)
	if err == nil {
		err = draft.Chmod(0o600) // a draft that was left from before may have other rights
	}
	if err == nil {
		err = draft.Sync()
	}
	if cerr := draft.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

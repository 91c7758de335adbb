package rpc_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"connectrpc.com/connect"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/auth/secrets"
	"github.com/weirstream/weir/platform/rpc"
	"github.com/weirstream/weir/raftmeta/catalog"
)

func TestASecretIsGivenToWorkersAndToNobodyElse(t *testing.T) {
	g := newGuarded(t)
	must(t, propose(t, g.world, &catalog.CreateNamespace{At: 1, Name: "team"}))
	admin, worker := g.token(catalog.RoleAdmin, "", 0), g.token(catalog.RoleWorker, "", 0)
	g.as(g.token(catalog.RoleDeploy, "team", 0))
	call(t, g.secrets.SetSecret, &weirv1.SetSecretRequest{Namespace: "team", Name: "password", Value: []byte("hunter22")})
	refused(t, connect.CodePermissionDenied, g.secrets.SetSecret, &weirv1.SetSecretRequest{Name: "password", Value: []byte("hunter22")})
	for _, value := range []string{"abc", strings.Repeat("x", 5000), "\xff\xfe\xfd\xfc"} {
		refused(t, connect.CodeInvalidArgument, g.secrets.SetSecret, &weirv1.SetSecretRequest{Namespace: "team", Name: "odd", Value: []byte(value)})
	}
	if list := call(t, g.secrets.ListSecrets, &weirv1.ListSecretsRequest{Namespace: "team"}).GetSecrets(); len(list) != 1 || list[0].GetName() != "password" {
		t.Errorf("list %v", list)
	}
	g.as(admin)
	refused(t, connect.CodePermissionDenied, g.secrets.OpenSecret, &weirv1.OpenSecretRequest{Namespace: "team", Name: "password"})
	g.as(worker)
	if value := call(t, g.secrets.OpenSecret, &weirv1.OpenSecretRequest{Namespace: "team", Name: "password"}).GetValue(); string(value) != "hunter22" {
		t.Errorf("opened as %q", value)
	}
	refused(t, connect.CodeNotFound, g.secrets.OpenSecret, &weirv1.OpenSecretRequest{Name: "password"})
	image, err := catalog.EncodeImage(g.node.View())
	must(t, err)
	if text := string(image); strings.Contains(text, "hunter22") || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte("hunter22"))) {
		t.Error("the catalog has the value in clear")
	}
}

func TestAControllerWithAnotherKeySaysSo(t *testing.T) {
	g := newGuarded(t)
	g.as(g.token(catalog.RoleAdmin, "", 0))
	call(t, g.secrets.SetSecret, &weirv1.SetSecretRequest{Name: "password", Value: []byte("hunter22")})
	file := filepath.Join(t.TempDir(), "other.key")
	must(t, os.WriteFile(file, []byte(base64.StdEncoding.EncodeToString(make([]byte, secrets.KeyBytes))), 0o600))
	other, err := secrets.OpenRing(file, "")
	must(t, err)
	found, err := rpc.CheckSecrets(g.node, other).Do(t.Context())
	if err != nil || len(found) != 1 || found[0].Severity != rpc.Error || !strings.Contains(found[0].Text, "sealed with key") {
		t.Errorf("%v, %v", found, err)
	}
	none, err := secrets.OpenRing("", filepath.Join(t.TempDir(), "none"))
	must(t, err)
	if found, err = rpc.CheckSecrets(g.node, none).Do(t.Context()); err != nil || len(found) != 1 || !strings.Contains(found[0].Text, "has no key of secrets") {
		t.Errorf("%v, %v", found, err)
	}
}

package weir_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	_ "github.com/weirstream/weir/platform/api/grpc/health/v1" // registers what is walked below
	_ "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/auth"
)

// A method without an entry in platform/auth/access.go could be called by admins
// only, which nobody would have decided.
func TestEveryMethodOfTheAPISaysWhoMayCallIt(t *testing.T) {
	seen := 0
	protoregistry.GlobalFiles.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		services := file.Services()
		for i := range services.Len() {
			service := services.Get(i)
			if name := string(service.FullName()); !strings.HasPrefix(name, "weir.") && !strings.HasPrefix(name, "grpc.health.") {
				continue
			}
			methods := service.Methods()
			for j := range methods.Len() {
				seen++
				method := methods.Get(j)
				access, ok := auth.Method(string(service.FullName()), string(method.Name()))
				if !ok {
					t.Errorf("%s has no entry in platform/auth/access.go", method.FullName())
					continue
				}
				named := method.Input().Fields().ByName("namespace") != nil
				if scoped := access.Scope == auth.InNamespace || access.Scope == auth.InNamespaces; scoped != named {
					t.Errorf("%s: its scope wants a field namespace: %t, its request has one: %t", method.FullName(), scoped, named)
				}
			}
		}
		return true
	})
	if seen < 30 {
		t.Fatalf("only %d methods were seen: the walk is broken", seen)
	}
}

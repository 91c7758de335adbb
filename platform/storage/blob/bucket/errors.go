package bucket

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"cloud.google.com/go/storage"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/aws/smithy-go"
	"gocloud.dev/gcerrors"
	"google.golang.org/api/googleapi"

	"github.com/weirstream/weir/platform/storage/blob"
)

// status is the HTTP status within an error; 0 if it has none.
func status(err error) int {
	var amazon interface{ HTTPStatusCode() int }
	var google *googleapi.Error
	var azure *azcore.ResponseError
	switch {
	case errors.As(err, &google):
		return google.Code
	case errors.As(err, &azure):
		return azure.StatusCode
	case errors.As(err, &amazon):
		return amazon.HTTPStatusCode()
	}
	return 0
}

// code is a provider's own word within an error.
func code(err error) string {
	var amazon smithy.APIError
	var azure *azcore.ResponseError
	switch {
	case errors.As(err, &azure):
		return azure.ErrorCode
	case errors.As(err, &amazon):
		return amazon.ErrorCode()
	}
	return ""
}

// conflicts says that a write met an object.
func conflicts(err error) bool {
	return gcerrors.Code(err) == gcerrors.FailedPrecondition || status(err) == http.StatusPreconditionFailed
}

func missingBucket(err error) bool {
	c := code(err)
	return errors.Is(err, storage.ErrBucketNotExist) || c == "NoSuchBucket" || c == "ContainerNotFound"
}

// full are the words of stores that have no more space.
var full = map[string]bool{"XMinioStorageFull": true, "QuotaExceeded": true, "InsufficientCapacity": true}

// describe turns what a provider says into this contract's errors, with the way out.
func (s *Store) describe(verb, name string, err error) error {
	st := status(err)
	switch {
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s %s: %w", verb, name, context.Canceled)
	case missingBucket(err):
		return fmt.Errorf("%s %s: %s does not exist: create it, or name another", verb, name, s.cloud.where)
	case st == http.StatusUnauthorized, st == http.StatusForbidden:
		return fmt.Errorf("%s %s: %s refuses these credentials (%w): %s; they need to read, write, list and delete there", verb, name, s.cloud.where, err, s.cloud.access)
	case st == http.StatusInsufficientStorage, full[code(err)]:
		return fmt.Errorf("%s %s: %w in %s (%w): free space or raise its quota", verb, name, blob.ErrFull, s.cloud.where, err)
	case gcerrors.Code(err) == gcerrors.NotFound:
		return fmt.Errorf("%s %s: %w in %s", verb, name, blob.ErrNotFound, s.cloud.where)
	}
	return fmt.Errorf("%s %s in %s: %w", verb, name, s.cloud.where, err)
}

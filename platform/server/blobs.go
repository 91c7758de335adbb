package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/blob/bloburl"
	"github.com/weirstream/weir/platform/storage/blob/fileblob"
)

// probeLimit is how long a store may take to show at the start that it works.
const probeLimit = 15 * time.Second

// remoteInterval is that of checkpoints in a bucket, where each costs requests.
const remoteInterval = 10 * time.Second

// openBlobs opens where objects are, and tries it: what is wrong with a bucket
// is said at the start and not by the first checkpoint.
func (s *Server) openBlobs(ctx context.Context) (blob.Store, error) {
	address, durability := s.blobURL(), s.options.Durability
	if !s.options.has(RoleController) {
		address = s.about.BlobURL
		if s.about.Strict {
			durability = Strict
		}
		if err := s.reachable(address); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	sync := fileblob.SyncNever
	if durability == Strict {
		sync = fileblob.SyncAlways
	}
	if dir, ok := strings.CutPrefix(address, folderScheme); ok && filepath.IsAbs(dir) {
		return fileblob.Open(dir, fileblob.Options{Sync: sync}) // as it stands: a folder's name may have what a URL's may not
	}
	store, err := bloburl.Open(ctx, address, bloburl.Options{Sync: sync})
	if err != nil {
		return nil, fmt.Errorf("open the blob store: %w", err)
	}
	if !bloburl.Remote(address) {
		return store, nil
	}
	if err := blob.Probe(ctx, store); err != nil {
		return nil, errors.Join(fmt.Errorf("the blob store %s does not work: %w", shownURL(address), err), store.Close())
	}
	return store, nil
}

// reachable says whether a process that is no controller gets to their objects.
func (s *Server) reachable(address string) error {
	if bloburl.Remote(address) {
		return nil
	}
	dir, ok := strings.CutPrefix(address, folderScheme)
	if !ok {
		return fmt.Errorf("the controllers keep objects at %s, which no other process reaches: give them a store that all reach, by --blob", shownURL(address))
	}
	mark, err := os.ReadFile(filepath.Join(dir, markName))
	if err != nil || string(mark) != s.about.Cluster {
		return fmt.Errorf("the controllers keep objects in the folder %s of their machine, which is not here: mount it, or give the controllers a store that all reach, by --blob", dir)
	}
	return nil
}

const folderScheme = "file://"

// blobURL names the store of a controller.
func (s *Server) blobURL() string {
	if s.options.BlobURL != "" {
		return s.options.BlobURL
	}
	return folderScheme + filepath.Join(s.options.DataDir, "blobs")
}

// blobDir is the store's folder; empty if it is none.
func (s *Server) blobDir() string {
	dir, ok := strings.CutPrefix(s.blobURL(), folderScheme)
	if !ok {
		return ""
	}
	return dir
}

// checkpointInterval is that of pipelines whose file names none.
func (s *Server) checkpointInterval() time.Duration {
	if bloburl.Remote(s.blobURL()) {
		return remoteInterval
	}
	return 0
}

// shownURL is a URL without its parameters.
func shownURL(address string) string {
	shown, _, _ := strings.Cut(address, "?")
	return shown
}

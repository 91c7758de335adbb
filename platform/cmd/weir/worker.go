package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"

	"github.com/weirstream/weir/platform/cli"
	"github.com/weirstream/weir/platform/failpoint"
	"github.com/weirstream/weir/platform/server"
)

// leastSlots is what a worker offers if nobody says, however few processors there are.
const leastSlots = 4

// maxWorkersHere bounds the search for a free folder among the user's caches.
const maxWorkersHere = 64

// runWorker runs a worker until the context ends, and leaves the cluster in order.
func runWorker(ctx context.Context, o cli.WorkerOptions) error {
	if err := failpoint.FromEnv(); err != nil {
		return err
	}
	log, err := serverLog(o.Log, o.LogLevel, o.LogFormat)
	if err != nil {
		return err
	}
	options := server.Options{
		EagerBytes: eagerBytes(o.EagerMiB), StateBytes: stateBytes(o.StateMiB),
		Roles: []server.Role{server.RoleWorker}, Join: o.Join, DataDir: o.DataDir, Listen: o.Listen, Advertise: o.Advertise,
		Auth: o.Auth, PlainHTTP: o.PlainHTTP, TLS: o.TLS, Trust: o.Trust, Token: o.Token, NATSURL: o.NATSURL, Slots: o.Slots, WorkerID: o.ID, Version: version, Log: log,
	}
	if options.Slots == 0 {
		options.Slots = max(runtime.NumCPU(), leastSlots)
	}
	s, err := startWorker(ctx, options)
	if err != nil {
		return err
	}
	if o.Ready != nil {
		o.Ready(s.WorkerID(), s.URL(), options.Slots)
	}
	select {
	case <-ctx.Done():
	case <-s.Failed():
		return errors.Join(s.Err(), s.Close())
	}
	return errors.Join(s.Drain(o.Patience, o.Abandon, o.Draining), s.Close())
}

// notInNames matches what no worker's name may have.
var notInNames = regexp.MustCompile(`[^A-Za-z0-9_]+`)

// startWorker starts a worker in its folder, or in the first of this machine's
// that no other uses: the same number gives the same caches and the same name.
func startWorker(ctx context.Context, o server.Options) (*server.Server, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("find the machine's name: %w; name the worker by --id", err)
	}
	host = notInNames.ReplaceAllString(host, "-")
	if o.DataDir != "" {
		if o.WorkerID == "" {
			dir, err := filepath.Abs(o.DataDir)
			if err != nil {
				return nil, err
			}
			sum := sha256.Sum256([]byte(dir)) // two folders of one name are two workers
			o.WorkerID = fmt.Sprintf("%.20s-%.20s-%x", host, notInNames.ReplaceAllString(filepath.Base(dir), "-"), sum[:3])
		}
		return server.Start(ctx, o)
	}
	caches, err := os.UserCacheDir()
	if err != nil {
		return nil, fmt.Errorf("find the user's caches: %w; name a folder by --data-dir", err)
	}
	for n := 1; n <= maxWorkersHere; n++ {
		one := o
		one.DataDir = filepath.Join(caches, "weir", fmt.Sprintf("worker-%d", n))
		if one.WorkerID == "" {
			one.WorkerID = fmt.Sprintf("%s-%d", host, n)
		}
		s, err := server.Start(ctx, one)
		if !errors.Is(err, server.ErrInUse) {
			return s, err
		}
	}
	return nil, fmt.Errorf("%d workers run on this machine already; name a folder by --data-dir", maxWorkersHere)
}

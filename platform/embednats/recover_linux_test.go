package embednats

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// smallDisk mounts a file system of its own on a folder.
func smallDisk(t *testing.T, dir string) {
	t.Helper()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("a small file system needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// fill takes all space that is left.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	chunk := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(chunk)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// eventually waits for what has no event.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); !holds(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestAStreamThatTookAWriteErrorOnAFullDiskTakesMessagesWhenThereIsSpaceAgain(t *testing.T) {
	for _, strict := range []bool{false, true} {
		t.Run(fmt.Sprintf("strict %v", strict), func(t *testing.T) {
			dir := t.TempDir()
			smallDisk(t, dir)
			s := start(t, Options{DataDir: dir, Strict: strict})
			nc := connect(t, s)
			js, _ := jetstream.New(nc)
			for _, name := range []string{"HIT", "BYSTANDER"} {
				if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{name}}); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := js.Publish(t.Context(), "BYSTANDER", []byte("kept")); err != nil {
				t.Fatal(err)
			}
			var stored []string // what was acknowledged
			publish := func(quick time.Duration) bool {
				text := fmt.Sprint(len(stored), strings.Repeat("x", 2000))
				m, err := nc.Request("HIT", []byte(text), quick)
				if err != nil || !strings.Contains(string(m.Data), `"seq"`) {
					return false
				}
				stored = append(stored, text)
				return true
			}
			for range 20 {
				if !publish(5 * time.Second) {
					t.Fatal("a message was refused on an empty disk")
				}
			}
			filler := filepath.Join(dir, "filler")
			fill(t, filler)
			eventually(t, "a refusal", func() bool { return !publish(300 * time.Millisecond) })
			eventually(t, "the word of it", func() bool { return s.Trouble() != "" })
			if text := s.Trouble(); !strings.Contains(text, "HIT") || !strings.Contains(text, "no space left") || !strings.Contains(text, dir) {
				t.Errorf("it says %q", text)
			}
			if publish(300 * time.Millisecond) {
				t.Error("a message was taken on a full disk")
			}
			if err := os.Remove(filler); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the stream to take messages", func() bool { return publish(300 * time.Millisecond) })
			eventually(t, "the end of the trouble", func() bool { return s.Trouble() == "" })
			for range 20 {
				if !publish(5 * time.Second) {
					t.Fatal("a message was refused with space on the disk")
				}
			}
			stream, err := js.Stream(t.Context(), "HIT")
			if err != nil {
				t.Fatal(err)
			}
			// What was not acknowledged may be there or not, as with any publication
			// without an answer; what was acknowledged is there once, in order.
			next := 0
			for seq := stream.CachedInfo().State.FirstSeq; seq <= stream.CachedInfo().State.LastSeq; seq++ {
				m, err := stream.GetMsg(t.Context(), seq)
				if err != nil {
					t.Fatalf("message %d of the stream: %v", seq, err)
				}
				if next < len(stored) && string(m.Data) == stored[next] {
					next++
				}
			}
			if next != len(stored) {
				t.Errorf("%d of %d acknowledged messages are there", next, len(stored))
			}
			by, err := js.Stream(t.Context(), "BYSTANDER")
			if err == nil {
				_, err = by.GetMsg(t.Context(), 1)
			}
			if err != nil {
				t.Errorf("the stream beside it: %v", err)
			}
		})
	}
}

package async

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestResultsComeBackWithoutAnybodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		woken := make(chan struct{}, 16)
		c := New[int](3, func() { woken <- struct{}{} })
		for i := range 3 {
			c.Start(func(context.Context) int {
				time.Sleep(time.Duration(3-i) * time.Second)
				return i
			})
		}
		if c.Room() {
			t.Fatal("room for a fourth")
		}
		if got := c.Take(); len(got) != 0 {
			t.Fatal(got)
		}
		time.Sleep(2500 * time.Millisecond)
		if got := c.Take(); len(got) != 2 || got[0] != 2 || got[1] != 1 || len(woken) != 1 || c.Flying() != 1 || !c.Room() {
			t.Fatal(got, len(woken), c.Flying())
		}
		time.Sleep(time.Second)
		if got := c.Take(); len(got) != 1 || got[0] != 0 || len(woken) != 2 {
			t.Fatal(got, len(woken))
		}
		c.Start(func(ctx context.Context) int { <-ctx.Done(); return 9 })
		c.Close()
		if got := c.Take(); len(got) != 1 || c.Flying() != 0 {
			t.Fatal(got)
		}
	})
}

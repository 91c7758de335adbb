package logbook

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
)

func TestABookKeepsTheLastLinesOfEachPipeline(t *testing.T) {
	b := New()
	log := slog.New(NewHandler(slog.DiscardHandler, b))
	for i := range MaxLines + 10 {
		log.With("pipeline", "a", "operator", "op", "task", 3).Info(fmt.Sprint("line ", i), "n", i)
	}
	log.With("pipeline", "b").Warn("other")
	log.Info("nobody's")
	lines := b.Tail("a", 0)
	if len(lines) != MaxLines || lines[0].Text != "line 10 n=10" || lines[len(lines)-1].Text != fmt.Sprintf("line %d n=%d", MaxLines+9, MaxLines+9) {
		t.Fatalf("%d lines, from %q to %q", len(lines), lines[0].Text, lines[len(lines)-1].Text)
	}
	if lines[0].Operator != "op" || lines[0].Task != 3 {
		t.Fatalf("%+v", lines[0])
	}
	if tail := b.Tail("a", 2); len(tail) != 2 || tail[1].Text != lines[MaxLines-1].Text {
		t.Fatalf("%+v", tail)
	}
	if other := b.Tail("b", 0); len(other) != 1 || other[0].Level != slog.LevelWarn {
		t.Fatalf("%+v", other)
	}
}

func TestAFollowerGetsThePastAndThenEveryNewLine(t *testing.T) {
	b := New()
	b.Add("a", Line{Text: "old"})
	ctx, cancel := context.WithCancel(t.Context())
	past, lines := b.Follow(ctx, "a", 0)
	b.Add("a", Line{Text: "new"})
	if len(past) != 1 || past[0].Text != "old" {
		t.Fatalf("%+v", past)
	}
	if l := <-lines; l.Text != "new" {
		t.Fatalf("%+v", l)
	}
	cancel()
}

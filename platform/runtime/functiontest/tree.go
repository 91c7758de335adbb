// Package functiontest has random trees of commands for stateful functions, and
// a model that knows what must come of them. Each command is a message to an
// address: it changes state, gives something to the outside, and sends other
// commands now, later, or later with a token by which it then cancels some. It
// must not know how functions are run.
package functiontest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"
)

// Command is what an address is told to do.
type Command struct {
	Node   int64   `json:"n"`           // unique
	Parent int64   `json:"p,omitempty"` // the command that sent it
	Place  int     `json:"i,omitempty"` // among what the parent sent to this address at once
	Add    int64   `json:"a"`
	Egress bool    `json:"e,omitempty"`
	Sends  []Send  `json:"s,omitempty"`
	Cancel []int64 `json:"c,omitempty"` // tokens of what this address sent before
}

// Send is a command to an address, at once or after a delay.
type Send struct {
	Type    string   `json:"t"`
	ID      string   `json:"id"`
	DelayMs int64    `json:"d,omitempty"`
	Token   int64    `json:"k,omitempty"`
	Doomed  bool     `json:"x,omitempty"` // will be cancelled; for the model alone
	Command *Command `json:"m"`
}

// Options shape trees.
type Options struct {
	Types, IDs int
	Depth      int
	Width      int
}

// Far is a delay that outlasts every cancellation of it.
const Far = time.Hour

// Generator makes trees from one seed.
type Generator struct {
	r    *rand.Rand
	o    Options
	node int64
}

// NewGenerator makes a generator.
func NewGenerator(r *rand.Rand, o Options) *Generator { return &Generator{r: r, o: o} }

// TypeName is the name of a type.
func TypeName(i int) string { return fmt.Sprintf("test.weir/t%d", i) }

// Root makes a whole tree and the address that its root is sent to.
func (g *Generator) Root() Send { return g.send(g.o.Depth, 0) }

func (g *Generator) send(depth int, parent int64) Send {
	s := Send{Type: TypeName(g.r.IntN(g.o.Types)), ID: fmt.Sprintf("id-%d", g.r.IntN(g.o.IDs))}
	s.Command = g.command(depth, parent)
	return s
}

func (g *Generator) command(depth int, parent int64) *Command {
	g.node++
	c := &Command{Node: g.node, Parent: parent, Add: int64(g.r.IntN(1000)), Egress: g.r.IntN(3) == 0}
	if depth == 0 {
		return c
	}
	places := map[string]int{}
	var tokens []int64
	for range g.r.IntN(g.o.Width + 1) {
		s := g.send(depth-1, c.Node)
		switch g.r.IntN(6) {
		case 0:
			s.DelayMs = int64(1 + g.r.IntN(2000))
		case 1:
			// One that is cancelled by the same address, in this command or by a message to itself.
			g.node++
			s.DelayMs, s.Token, s.Doomed = Far.Milliseconds(), g.node, true
			tokens = append(tokens, s.Token)
		case 2:
			g.node++
			s.DelayMs, s.Token = int64(1+g.r.IntN(2000)), g.node // a token that is never used
		default:
			to := s.Type + "/" + s.ID
			places[to]++
			s.Command.Place = places[to]
		}
		c.Sends = append(c.Sends, s)
	}
	if len(tokens) > 0 {
		// A second message to whoever runs this command: Self.
		g.node++
		c.Sends = append(c.Sends, Send{Type: Self, Command: &Command{Node: g.node, Parent: c.Node, Cancel: tokens, Add: 1}})
	}
	return c
}

// Self is the type of a send to the sender's own address.
const Self = "self"

// Model is what must stand in the end.
type Model struct {
	Sums   map[string]int64 // address -> sum of what was added
	Counts map[string]int64 // address -> commands
	Egress map[int64]int64  // node -> the sum that its command added; once each
}

// NewModel makes an empty one.
func NewModel() *Model {
	return &Model{Sums: map[string]int64{}, Counts: map[string]int64{}, Egress: map[int64]int64{}}
}

// Run walks a tree.
func (m *Model) Run(s Send) { m.run(s, s.Type+"/"+s.ID) }

func (m *Model) run(s Send, at string) {
	if s.Doomed {
		return
	}
	c := s.Command
	m.Sums[at] += c.Add
	m.Counts[at]++
	if c.Egress {
		m.Egress[c.Node] = c.Add
	}
	for _, next := range c.Sends {
		if next.Type == Self {
			m.run(next, at)
		} else {
			m.run(next, next.Type+"/"+next.ID)
		}
	}
}

// Encode and Decode are the value of a message.
func Encode(c *Command) []byte {
	b, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	return b
}

// Decode reads what Encode wrote.
func Decode(b []byte) (*Command, error) {
	c := &Command{}
	return c, json.Unmarshal(b, c)
}

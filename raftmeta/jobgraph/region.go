package jobgraph

// Region is a set of stages that are joined by edges which are not durable.
// Its tasks fail and restart together, under one attempt.
type Region struct {
	Index  int
	Stages []StageID // ascending
}

// Regions returns the regions in the order of their lowest stage. A durable
// edge goes through a topic, so what is on its other side can restart alone.
func (g *Graph) Regions() []Region {
	parent := make([]int, len(g.Stages))
	for i := range parent {
		parent[i] = i
	}
	find := func(i int) int {
		for parent[i] != i {
			parent[i] = parent[parent[i]]
			i = parent[i]
		}
		return i
	}
	for i := range g.Edges {
		e := &g.Edges[i]
		if e.Durable || int(e.From) >= len(parent) || int(e.To) >= len(parent) {
			continue
		}
		a, b := find(int(e.From)), find(int(e.To))
		// The lower root wins, so that a region's root is its lowest stage.
		parent[max(a, b)] = min(a, b)
	}
	var regions []Region
	index := make(map[int]int, len(parent))
	for i := range parent {
		root := find(i)
		at, ok := index[root]
		if !ok {
			at = len(regions)
			index[root] = at
			regions = append(regions, Region{Index: at})
		}
		regions[at].Stages = append(regions[at].Stages, StageID(i))
	}
	return regions
}

// RegionOf maps every stage to the index of its region.
func (g *Graph) RegionOf() []int {
	of := make([]int, len(g.Stages))
	for _, r := range g.Regions() {
		for _, s := range r.Stages {
			of[s] = r.Index
		}
	}
	return of
}

// Slots is the number of slots that the graph needs: a slot holds one task of
// every stage, so it is the highest parallelism.
func (g *Graph) Slots() int {
	n := 0
	for i := range g.Stages {
		n = max(n, g.Stages[i].Parallelism)
	}
	return n
}

// Tasks counts the tasks of all stages.
func (g *Graph) Tasks() int {
	n := 0
	for i := range g.Stages {
		n += g.Stages[i].Parallelism
	}
	return n
}

// Operator finds an operator by its id.
func (g *Graph) Operator(id string) (stage StageID, op *Operator, ok bool) {
	for i := range g.Stages {
		for j := range g.Stages[i].Operators {
			if o := &g.Stages[i].Operators[j]; o.ID == id {
				return StageID(i), o, true
			}
		}
	}
	return 0, nil, false
}

package pipelinefile

import (
	"fmt"
	"slices"
	"strings"
)

// Suggest names what was probably meant: the nearest of the allowed names, or,
// if none is near, all of them.
func Suggest(got string, allowed []string) string {
	best, distance := "", 1<<30
	for _, a := range allowed {
		if d := editDistance(strings.ToLower(got), strings.ToLower(a)); d < distance {
			best, distance = a, d
		}
	}
	if best != "" && distance <= max(2, len(got)/3) {
		return fmt.Sprintf("did you mean %q?", best)
	}
	if len(allowed) == 0 {
		return ""
	}
	sorted := slices.Sorted(slices.Values(allowed))
	const most = 12
	if len(sorted) > most {
		return fmt.Sprintf("there are %s and %d more", strings.Join(sorted[:most], ", "), len(sorted)-most)
	}
	return "there are " + strings.Join(sorted, ", ")
}

// editDistance counts insertions, deletions, substitutions and swaps of neighbours.
func editDistance(a, b string) int {
	prev2, prev := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur := make([]int, len(b)+1)
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev = prev, cur
	}
	return prev[len(b)]
}

package pipelinefile

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weirstream/weir/platform/nearest"
)

// Suggest names what was probably meant: the nearest of the allowed names, or,
// if none is near, all of them.
func Suggest(got string, allowed []string) string {
	best, distance := "", 1<<30
	for _, a := range allowed {
		if d := nearest.Distance(strings.ToLower(got), strings.ToLower(a)); d < distance {
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

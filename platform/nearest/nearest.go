// Package nearest tells how far two names are apart, so that a refusal can say
// what was probably meant. It must not know what is named.
package nearest

import "math"

// MaxBytes bounds the names that are compared: longer ones are near to nothing.
const MaxBytes = 64

// Distance counts the insertions, deletions and substitutions between two names;
// a swap of neighbours is one.
func Distance(a, b string) int {
	if len(a) > MaxBytes || len(b) > MaxBytes {
		return math.MaxInt
	}
	two, one := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range one {
		one[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(one[j]+1, row[j-1]+1, one[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], two[j-2]+1)
			}
		}
		two, one = one, row
	}
	return one[len(b)]
}

package scheduler

// Backoff is the pause before restart number failures in a row (from 1): doubling
// from BackoffInitial to BackoffMax, less up to a fifth that depends on the seed,
// so that jobs which failed together do not return together.
func Backoff(failures int, seed uint64) int64 {
	pause := BackoffInitial
	for i := 1; i < failures && pause < BackoffMax; i++ {
		pause *= 2
	}
	pause = min(pause, BackoffMax)
	return pause - int64(mix(seed)%uint64(pause/5))
}

// mix is SplitMix64's finisher.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

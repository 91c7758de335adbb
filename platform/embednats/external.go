package embednats

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
)

// MinVersion is the oldest NATS server that Weir works with: from it on,
// syncing of replicated streams is cheap and expected-sequence checks see
// transformed subjects.
const MinVersion = "2.15.0"

// ConnectExternal connects to a NATS server or cluster that someone else runs
// and refuses one that is too old.
func ConnectExternal(url, name string, extra ...nats.Option) (*nats.Conn, error) {
	opts := append([]nats.Option{nats.Name(name), nats.MaxReconnects(-1)}, extra...)
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to nats %s: %w", url, err)
	}
	if err := CheckVersion(nc.ConnectedServerVersion()); err != nil {
		nc.Close()
		return nil, err
	}
	return nc, nil
}

// CheckVersion refuses servers older than MinVersion, and versions that cannot be read.
func CheckVersion(version string) error {
	have, err := parseVersion(version)
	if err != nil {
		return err
	}
	want, _ := parseVersion(MinVersion)
	for i := range want {
		if have[i] != want[i] {
			if have[i] < want[i] {
				return fmt.Errorf("nats server %s is older than %s: upgrade it, or leave --nats out to use the embedded one", version, MinVersion)
			}
			break
		}
	}
	return nil
}

func parseVersion(version string) (out [3]int, err error) {
	numbers, _, _ := strings.Cut(strings.TrimPrefix(version, "v"), "-")
	parts := strings.Split(numbers, ".")
	if len(parts) != len(out) {
		return out, fmt.Errorf("nats server version %q is not major.minor.patch", version)
	}
	for i, p := range parts {
		if out[i], err = strconv.Atoi(p); err != nil || out[i] < 0 {
			return out, fmt.Errorf("nats server version %q is not major.minor.patch", version)
		}
	}
	return out, nil
}

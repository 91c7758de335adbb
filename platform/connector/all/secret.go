package all

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/weirstream/weir/platform/auth/secrets"
)

// reveal puts the values of secrets into options, in memory and nowhere else.
func (env Environment) reveal(ctx context.Context, options json.RawMessage) (json.RawMessage, error) {
	if !bytes.Contains(options, []byte("${secret:")) {
		return options, nil
	}
	given := map[string]any{}
	if err := json.Unmarshal(options, &given); err != nil {
		return options, nil //nolint:nilerr // whoever reads the options says it in the connector's words
	}
	for name, v := range given {
		text, ok := v.(string)
		if !ok {
			continue
		}
		clear, err := secrets.Expand(text, func(namespace, secret string) (string, error) {
			if env.Secret == nil {
				return "", fmt.Errorf("secret %s: there are no secrets here", secret)
			}
			return env.Secret(ctx, namespace, secret)
		})
		if err != nil {
			return nil, fmt.Errorf("option %q: %w", name, err)
		}
		given[name] = clear
	}
	return json.Marshal(given)
}

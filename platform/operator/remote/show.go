package remote

import (
	"encoding/json"

	"github.com/weirstream/weir/platform/statefun/wire"
)

// URLOf is the URL of the server in an operator's configuration.
func URLOf(config []byte) string {
	var c Config
	if json.Unmarshal(config, &c) != nil {
		return ""
	}
	return c.Endpoint.URL
}

// ShowValue is a state's value as JSON: that of a type of StateFun's own as it is,
// any other with its type name and its bytes.
func ShowValue(stored []byte) (string, error) {
	_, v, err := readValue(stored)
	if err != nil {
		return "", err
	}
	if plain, ok := wire.Plain(string(v.Typename), v.Value); ok {
		b, err := json.Marshal(plain)
		return string(b), err
	}
	b, err := json.Marshal(struct {
		Typename string `json:"typename"`
		Value    []byte `json:"value"`
	}{string(v.Typename), v.Value})
	return string(b), err
}

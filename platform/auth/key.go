package auth

import "crypto/subtle"

// Cluster is the id of a caller that showed the cluster's own key: another of its processes.
const Cluster = "cluster"

// ShowsKey tells whether a header has the key that the processes of a cluster
// show to each other. An empty key is nobody's.
func ShowsKey(header, key string) bool {
	return key != "" && subtle.ConstantTimeCompare([]byte(header), []byte(Bearer(key))) == 1
}

// Bearer is the header that shows a token or a key.
func Bearer(secret string) string { return "Bearer " + secret }

// Package ingress is the operator that makes messages to stateful functions of the
// records of a topic. It must not know what a function is.
package ingress

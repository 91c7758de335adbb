// Package planner turns a pipeline file into a job graph: it resolves names
// against modules and topics, checks types, groups operators into stages and
// says what a change does to state. It must not know how a graph is run nor
// where modules and topics are kept.
package planner

import (
	"github.com/weirstream/weir/abi/manifest"
	"github.com/weirstream/weir/platform/connector/jetstream"
)

// World is what a plan may refer to.
type World interface {
	// Module gives a module of the namespace by name or name@sha256:<hex>.
	Module(name string) (Module, bool)
	ModuleNames() []string
	Topic(name string) (jetstream.Topic, bool)
	TopicNames() []string
	HasSecret(name string) bool
}

// Module is a pushed module.
type Module struct {
	Name     string
	Digest   string
	Manifest *manifest.Manifest
}

// DefaultParallelism is that of a pipeline which says nothing.
const DefaultParallelism = 1

// DeadLetterTopic is the topic of a pipeline's dead letters unless its file names one.
func DeadLetterTopic(pipeline string) string {
	const suffix = "-dead-letters"
	return pipeline[:min(len(pipeline), 63-len(suffix))] + suffix
}

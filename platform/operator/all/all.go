// Package all is the table of native operators: those that need nothing of a
// server, so that every place that runs pipelines has them. It must not know
// sources, sinks or functions of modules.
package all

import (
	"encoding/json"

	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/operator/aggregate"
	"github.com/weirstream/weir/platform/operator/dispatch"
	"github.com/weirstream/weir/platform/operator/fetch"
	"github.com/weirstream/weir/platform/operator/ingress"
	"github.com/weirstream/weir/platform/operator/join"
	"github.com/weirstream/weir/platform/operator/native"
	"github.com/weirstream/weir/platform/operator/outbox"
	"github.com/weirstream/weir/platform/operator/parked"
	"github.com/weirstream/weir/platform/operator/project"
	"github.com/weirstream/weir/platform/operator/remote"
)

// Native is a native operator: how it is planned and how it is made.
type Native struct {
	Plan func(config json.RawMessage, inputs []native.Input, key []string) (native.Plan, error)
	New  func() operator.Operator
}

// Natives has every native operator by its kind. It must not be changed.
var Natives = map[string]Native{
	aggregate.Kind: {aggregate.Plan, func() operator.Operator { return aggregate.New() }},
	join.Kind:      {join.Plan, func() operator.Operator { return join.New() }},
	project.Kind:   {project.Plan, func() operator.Operator { return project.New() }},
}

// Placed has the operators that no pipeline file names: the planner places them
// by itself. It must not be changed.
var Placed = map[string]func() operator.Operator{
	dispatch.Kind: func() operator.Operator { return dispatch.New() },
	fetch.Kind:    func() operator.Operator { return fetch.New() },
	ingress.Kind:  func() operator.Operator { return ingress.New() },
	outbox.Kind:   func() operator.Operator { return outbox.New() },
	parked.Kind:   func() operator.Operator { return parked.New() },
	remote.Kind:   func() operator.Operator { return remote.New() },
}

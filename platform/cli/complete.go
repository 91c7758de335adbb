package cli

import (
	"context"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
)

// completionTimeout bounds how long a shell waits for names.
const completionTimeout = time.Second

// nameLister asks the server for the names that may stand at an argument.
type nameLister func(ctx context.Context, c *clients, namespace string) ([]string, error)

// completeFlag completes a flag's value from the server.
func (a *app) completeFlag(list nameLister) cobra.CompletionFunc {
	complete := a.completeName(list)
	return func(cmd *cobra.Command, _ []string, start string) ([]string, cobra.ShellCompDirective) {
		return complete(cmd, nil, start)
	}
}

// completeName completes the first argument from the server; without one the
// shell gets nothing, never an error.
func (a *app) completeName(list nameLister) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		c, err := a.connect()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
		defer cancel()
		found, err := list(ctx, c, a.namespace)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}

func topicNames(ctx context.Context, c *clients, namespace string) ([]string, error) {
	r, err := c.topics.ListTopics(ctx, connect.NewRequest(&weirv1.ListTopicsRequest{Namespace: namespace}))
	if err != nil {
		return nil, err
	}
	var found []string
	for _, t := range r.Msg.GetTopics() {
		found = append(found, t.GetName())
	}
	return found, nil
}

func moduleNames(ctx context.Context, c *clients, namespace string) ([]string, error) {
	r, err := c.modules.ListModules(ctx, connect.NewRequest(&weirv1.ListModulesRequest{Namespace: namespace}))
	if err != nil {
		return nil, err
	}
	var found []string
	for _, m := range r.Msg.GetModules() {
		found = append(found, m.GetName())
	}
	return found, nil
}

func pipelineNames(ctx context.Context, c *clients, namespace string) ([]string, error) {
	r, err := c.pipelines.ListPipelines(ctx, connect.NewRequest(&weirv1.ListPipelinesRequest{Namespace: namespace}))
	if err != nil {
		return nil, err
	}
	var found []string
	for _, p := range r.Msg.GetPipelines() {
		found = append(found, p.GetName())
	}
	return found, nil
}

func workerNames(ctx context.Context, c *clients, _ string) ([]string, error) {
	r, err := c.workers.ListWorkers(ctx, connect.NewRequest(&weirv1.ListWorkersRequest{}))
	if err != nil {
		return nil, err
	}
	var found []string
	for _, w := range r.Msg.GetWorkers() {
		found = append(found, w.GetId())
	}
	return found, nil
}

func namespaceNames(ctx context.Context, c *clients, _ string) ([]string, error) {
	r, err := c.system.ListNamespaces(ctx, connect.NewRequest(&weirv1.ListNamespacesRequest{}))
	if err != nil {
		return nil, err
	}
	var found []string
	for _, n := range r.Msg.GetNamespaces() {
		found = append(found, n.GetName())
	}
	return found, nil
}

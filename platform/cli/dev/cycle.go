package dev

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/cli"
	"github.com/weirstream/weir/platform/modules/bundle"
	"github.com/weirstream/weir/platform/planner"
	"github.com/weirstream/weir/platform/planner/pipelinefile"
)

// Topics of a dev server have one partition, so that records come out in the
// order in which they went in.
const partitions = 1

// afresh is how a developer goes on when state cannot be read any more.
const afresh = "\n  here state may be dropped: rename it; or end weir dev and start it again, for its server keeps nothing"

// project is an applied pipeline file.
type project struct {
	namespace string
	file      *pipelinefile.File
}

func (l *loop) try(ctx context.Context) (project, error) {
	text, err := os.ReadFile(l.options.Pipeline)
	if err != nil {
		return project{}, fmt.Errorf("read pipeline: %w", err)
	}
	file, problems := pipelinefile.Parse(text)
	if len(problems) > 0 {
		lines := make([]string, len(problems))
		for i, p := range problems {
			lines[i] = l.options.Pipeline + ":" + p.Error()
		}
		return project{}, fmt.Errorf("%s", strings.Join(lines, "\n"))
	}
	namespace := file.Namespace.Value
	if namespace == "" {
		namespace = cli.DefaultNamespace
	}
	for _, path := range modulePaths(file) {
		if err := l.buildAndPush(ctx, namespace, path); err != nil {
			return project{}, err
		}
	}
	for _, topic := range topicsOf(file) {
		_, err := l.topics.CreateTopic(ctx, connect.NewRequest(&weirv1.CreateTopicRequest{Namespace: namespace, Name: topic, Partitions: partitions}))
		if err != nil && connect.CodeOf(err) != connect.CodeAlreadyExists {
			return project{}, fmt.Errorf("create topic %s: %w", topic, err)
		}
	}
	start := time.Now()
	r, err := l.pipelines.ApplyPipeline(ctx, connect.NewRequest(&weirv1.ApplyPipelineRequest{Namespace: namespace, File: string(text), AllowDroppedState: true}))
	if err != nil {
		return project{}, fmt.Errorf("apply %s: %w", l.options.Pipeline, err)
	}
	l.options.Say(cli.DevEvent{Step: cli.DevApplied, Text: applied(r.Msg), Took: time.Since(start)})
	return project{namespace, file}, nil
}

// applied says what became of the state, which is what an edit may cost.
func applied(r *weirv1.ApplyPipelineResponse) string {
	p := r.GetPipeline()
	text := fmt.Sprintf("%s revision %d", p.GetName(), p.GetRevision())
	if r.GetUnchanged() {
		text += ", unchanged"
	}
	for _, s := range r.GetDiff().GetState() {
		switch s.GetKind() {
		case weirv1.StateChange_KIND_DROPPED:
			text += fmt.Sprintf(", state %s.%s dropped", s.GetOperator(), s.GetState())
		case weirv1.StateChange_KIND_NEW:
			text += fmt.Sprintf(", state %s.%s new", s.GetOperator(), s.GetState())
		}
	}
	return text
}

// modulePaths lists the modules that the file names by path.
func modulePaths(f *pipelinefile.File) []string {
	var paths []string
	note := func(m string) {
		if strings.HasSuffix(m, ".wasm") && !slices.Contains(paths, m) {
			paths = append(paths, m)
		}
	}
	note(f.Module.Value)
	for _, o := range f.Operators {
		note(o.Module.Value)
	}
	if f.Functions != nil {
		for _, m := range f.Functions.Modules {
			note(m.Value)
		}
	}
	return paths
}

func topicsOf(f *pipelinefile.File) []string {
	var topics []string
	note := func(t string) {
		if t != "" && !slices.Contains(topics, t) {
			topics = append(topics, t)
		}
	}
	for _, s := range f.Sources {
		note(s.Topic.Value)
	}
	for _, t := range outputTopics(f) {
		note(t)
	}
	if f.Functions != nil {
		for _, in := range f.Functions.Ingress {
			note(in.Topic.Value)
		}
	}
	return topics
}

// outputTopics are those whose records are shown.
func outputTopics(f *pipelinefile.File) []string {
	var topics []string
	for _, s := range f.Sinks {
		topics = append(topics, s.Topic.Value)
	}
	if f.Functions != nil {
		for _, e := range f.Functions.Egress {
			topics = append(topics, e.Topic.Value)
		}
	}
	return topics
}

func (l *loop) buildAndPush(ctx context.Context, namespace, module string) error {
	path := module
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(l.options.Pipeline), module)
	}
	start := time.Now()
	built, err := build(ctx, path, l.options.Build)
	if err != nil {
		return err
	}
	if built {
		l.options.Say(cli.DevEvent{Step: cli.DevBuilt, Text: module, Took: time.Since(start)})
	}
	wasm, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read module: %w; say how it is built by --build", err)
	}
	beside, err := bundle.Beside(path)
	if err != nil {
		return fmt.Errorf("module %s: %w", module, err)
	}
	var assets []*weirv1.Asset
	for _, a := range beside {
		assets = append(assets, &weirv1.Asset{Name: a.Name, Data: a.Data})
	}
	start = time.Now()
	name := planner.ModuleName(module)
	r, err := l.modules.PushModule(ctx, connect.NewRequest(&weirv1.PushModuleRequest{Namespace: namespace, Name: name, Wasm: wasm, Assets: assets}))
	if err != nil {
		return fmt.Errorf("push module %s: %w", name, err)
	}
	if !r.Msg.GetUnchanged() {
		l.options.Say(cli.DevEvent{Step: cli.DevPushed, Text: name, Took: time.Since(start)})
	}
	return nil
}

// follow feeds what is applied and shows what comes out, from the first record
// of each topic on.
func (l *loop) follow(ctx context.Context, p project) {
	for _, f := range l.feeds {
		f.namespace = p.namespace
	}
	for _, topic := range outputTopics(p.file) {
		if topic != "" {
			l.once("topic "+topic, func() { l.showRecords(ctx, p.namespace, topic) })
		}
	}
	name := p.file.Name.Value
	l.once("logs "+name, func() { l.showLogs(ctx, p.namespace, name) })
	l.once("dead letters "+name, func() { l.showDeadLetters(ctx, p.namespace, name) })
}

// once starts what shows something, unless it is shown already.
func (l *loop) once(what string, show func()) {
	if l.following[what] {
		return
	}
	l.following[what] = true
	l.running.Go(show)
}

func (l *loop) showRecords(ctx context.Context, namespace, topic string) {
	s, err := l.topics.Read(ctx, connect.NewRequest(&weirv1.ReadRequest{Namespace: namespace, Topic: topic, From: &weirv1.ReadRequest_Start{Start: true}}))
	if err == nil {
		for s.Receive() {
			for _, r := range s.Msg().GetRecords() {
				value := r.GetValue()
				if r.GetJson() != "" {
					value = []byte(r.GetJson())
				}
				l.options.Output(topic, value)
			}
		}
		err = s.Err()
	}
	l.broken(ctx, "read topic "+topic, err)
}

func (l *loop) showLogs(ctx context.Context, namespace, name string) {
	s, err := l.pipelines.Logs(ctx, connect.NewRequest(&weirv1.LogsRequest{Namespace: namespace, Name: name, Follow: true}))
	if err == nil {
		for s.Receive() {
			for _, line := range s.Msg().GetLines() {
				l.options.Guest(line.GetLevel(), line.GetOperator(), line.GetText())
			}
		}
		err = s.Err()
	}
	l.broken(ctx, "read logs of "+name, err)
}

// showDeadLetters shows each record that the pipeline could not handle. A list
// that fails is asked for again; each complaint is made once.
func (l *loop) showDeadLetters(ctx context.Context, namespace, name string) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	after, complaint := uint64(0), ""
	for {
		r, err := l.pipelines.ListDeadLetters(ctx, connect.NewRequest(&weirv1.ListDeadLettersRequest{Namespace: namespace, Name: name, After: after}))
		if err == nil {
			complaint = ""
			for _, d := range r.Msg.GetLetters() {
				after = d.GetId()
				where := fmt.Sprintf("%s/%d@%d.%d", d.GetTopic(), d.GetPartition(), d.GetSequence(), d.GetSourceRow())
				l.options.Guest("dead letter", d.GetOperator(), where+": "+d.GetReason())
			}
		} else if text := err.Error(); text != complaint {
			complaint = text
			l.broken(ctx, "list dead letters of "+name, err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// broken tells of a stream that ended before the command did.
func (l *loop) broken(ctx context.Context, what string, err error) {
	if ctx.Err() == nil && err != nil {
		l.options.Say(cli.DevEvent{Step: cli.DevFailed, Text: what + ": " + describe(err)})
	}
}

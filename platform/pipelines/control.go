package pipelines

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/types/known/timestamppb"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/logbook"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// logLines is how many lines one answer holds.
const logLines = 500

// Stop says that a pipeline is to stop. Its last checkpoint and the output that
// belongs to it take their time: its state tells when it has.
func (s *Service) Stop(ctx context.Context, r *weirv1.StopPipelineRequest) (*weirv1.StopPipelineResponse, error) {
	p, err := s.find("stop", r.GetNamespace(), r.GetName())
	if err != nil {
		return nil, err
	}
	now, err := s.desire(ctx, p, &catalog.SetDesired{Desired: catalog.DesiredStopped})
	if err != nil {
		return nil, err
	}
	return &weirv1.StopPipelineResponse{Pipeline: now}, nil
}

// Resume starts a pipeline that does not run, from its last checkpoint or an older one.
func (s *Service) Resume(ctx context.Context, r *weirv1.ResumePipelineRequest) (*weirv1.ResumePipelineResponse, error) {
	p, err := s.find("resume", r.GetNamespace(), r.GetName())
	if err != nil {
		return nil, err
	}
	from := catalog.StartFrom{Checkpoint: r.GetFromCheckpoint(), AllowDuplicates: r.GetAllowDuplicates()}
	if last := p.Job.Last; from.Checkpoint == 0 || last != nil && from.Checkpoint == last.ID {
		from = catalog.StartFrom{} // where it starts anyway
	} else if !from.AllowDuplicates {
		return nil, hint(refuse(ErrRefused, "resume pipeline %s from checkpoint %d: what it published after that appears twice", p.Name, from.Checkpoint),
			"add --allow-duplicates if readers can bear it, or leave the checkpoint out")
	}
	if from != (catalog.StartFrom{}) && p.Job.State.Active() {
		err := refuse(ErrRefused, "resume pipeline %s from checkpoint %d: its job is %s, and only one that is at rest can start elsewhere", p.Name, from.Checkpoint, p.Job.State)
		return nil, hint(err, "weir pipeline stop %s returns when it has stopped; then call again", p.Name)
	}
	doubt, err := doubtOf(r, p)
	if err != nil {
		return nil, err
	}
	now, err := s.desire(ctx, p, &catalog.SetDesired{Desired: catalog.DesiredRunning, From: from, Doubt: doubt})
	if err != nil {
		return nil, err
	}
	return &weirv1.ResumePipelineResponse{Pipeline: now}, nil
}

// doubtOf reads what is decided about output in doubt, where there may be some.
func doubtOf(r *weirv1.ResumePipelineRequest, p *catalog.Pipeline) (catalog.Doubt, error) {
	d, ok := doubts[r.GetDoubt()]
	switch {
	case !ok:
		return "", refuse(ErrRefused, "resume pipeline %s: unknown decision %d about output in doubt", p.Name, r.GetDoubt())
	case d != "" && p.Job.State.Active():
		return "", hint(refuse(ErrRefused, "resume pipeline %s: its job is %s and publishes by itself", p.Name, p.Job.State), "leave the decision out")
	case d != "" && !p.Job.Unpublished():
		return "", hint(refuse(ErrRefused, "resume pipeline %s: none of its output is in doubt", p.Name), "leave the decision out")
	}
	return d, nil
}

var doubts = map[weirv1.ResumePipelineRequest_Doubt]catalog.Doubt{
	weirv1.ResumePipelineRequest_DOUBT_UNSPECIFIED:      "",
	weirv1.ResumePipelineRequest_DOUBT_ASSUME_PUBLISHED: catalog.AssumePublished,
	weirv1.ResumePipelineRequest_DOUBT_PUBLISH_AGAIN:    catalog.PublishAgain,
}

func (s *Service) desire(ctx context.Context, p *catalog.Pipeline, c *catalog.SetDesired) (*weirv1.Pipeline, error) {
	c.At, c.UID = s.now(), p.UID
	if _, err := s.options.Node.Propose(ctx, c); err != nil {
		return nil, err
	}
	state := s.view()
	now, ok := state.Pipeline(p.UID)
	if !ok {
		return nil, refuse(catalog.ErrConflict, "pipeline %s was deleted meanwhile", p.Name)
	}
	return s.message(state, now), nil
}

// Delete removes a pipeline that does not run, with its state and checkpoints.
func (s *Service) Delete(ctx context.Context, r *weirv1.DeletePipelineRequest) (*weirv1.DeletePipelineResponse, error) {
	p, err := s.find("delete", r.GetNamespace(), r.GetName())
	if err != nil {
		return nil, err
	}
	if runs(p) {
		return nil, hint(refuse(catalog.ErrInUse, "delete pipeline %s: its job is %s", p.Name, p.Job.State), "stop it first: weir pipeline stop %s", p.Name)
	}
	// First, so that after a crash the pipeline is there to be deleted again.
	if err := s.dropTopics(ctx, p.Namespace, p.Name); err != nil {
		return nil, fmt.Errorf("delete pipeline %s: %w", p.Name, err)
	}
	if _, err := s.options.Node.Propose(ctx, &catalog.DeletePipeline{At: s.now(), UID: p.UID}); err != nil {
		return nil, err
	}
	s.options.Logs.Forget(catalog.Key(p.Namespace, p.Name))
	s.live.forget(p.UID)
	if s.options.Deleted != nil {
		if err := s.options.Deleted(ctx, p.UID); err != nil {
			return nil, hint(fmt.Errorf("pipeline %s is deleted, some of its files are not: %w", p.Name, err), "they take only space; weir doctor tells about the disk")
		}
	}
	return &weirv1.DeletePipelineResponse{}, nil
}

// Logs gives the lines of a pipeline that are kept and, with follow, those that come until ctx ends.
func (s *Service) Logs(ctx context.Context, r *weirv1.LogsRequest, send func(*weirv1.LogsResponse) error) error {
	p, err := s.find("read logs of", r.GetNamespace(), r.GetName())
	if err != nil {
		return err
	}
	key, tail := catalog.Key(p.Namespace, p.Name), int(r.GetTail())
	if !r.GetFollow() {
		return sendLines(s.options.Logs.Tail(key, tail), send)
	}
	past, fresh := s.options.Logs.Follow(ctx, key, tail)
	if err := sendLines(past, send); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case l := <-fresh:
			lines := []logbook.Line{l}
			for more := true; more && len(lines) < logLines; { // what is there goes in one answer
				select {
				case l := <-fresh:
					lines = append(lines, l)
				default:
					more = false
				}
			}
			if err := sendLines(lines, send); err != nil {
				return err
			}
		}
	}
}

func sendLines(lines []logbook.Line, send func(*weirv1.LogsResponse) error) error {
	for len(lines) > 0 {
		n := min(len(lines), logLines)
		out := &weirv1.LogsResponse{}
		for _, l := range lines[:n] {
			out.Lines = append(out.Lines, &weirv1.LogLine{
				Time: timestamppb.New(l.Time), Level: levelName(l), Operator: l.Operator, Task: uint32(max(l.Task, 0)), Text: l.Text,
			})
		}
		if err := send(out); err != nil {
			return err
		}
		lines = lines[n:]
	}
	return nil
}

package catalog

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// inState is a catalog with one pipeline whose job stands in a state, everything published.
func inState(state JobState) *State {
	s := New()
	s.pipelines = s.pipelines.with("p1", &Pipeline{
		UID: "p1", Namespace: "default", Name: "p", Desired: DesiredRunning,
		Current: Revision{Number: 1, Graph: testDigest(0), Spec: testDigest(1), Widths: []int{1}, Delivery: ExactlyOnce},
		Job:     Job{State: state, Attempt: 3, Regions: []uint64{3}, Revision: 1},
	})
	s.names = s.names.with("default/p", "p1")
	return s
}

var allStates = []JobState{JobCreated, JobStarting, JobRunning, JobRestarting, JobStopping, JobDraining, JobStopped, JobFailed, JobFinished, JobDormant}

func TestAJobTakesNoStepThatIsNotInTheTable(t *testing.T) {
	for _, from := range allStates {
		for _, to := range allStates {
			_, _, err := inState(from).Apply(&SetJobState{At: 1, UID: "p1", Attempt: 3, To: to})
			legal := slices.Contains(transitions[from], to) && to != JobStarting && to != JobDormant
			var illegal *IllegalTransitionError
			switch {
			case legal && err != nil:
				t.Errorf("%s to %s: %v", from, to, err)
			case !legal && (!errors.As(err, &illegal) || illegal.From != from || illegal.To != to || !strings.Contains(err.Error(), string(from))):
				t.Errorf("%s to %s: %v", from, to, err)
			}
		}
	}
}

func TestEveryStateLeadsBackToARunningJob(t *testing.T) {
	for _, from := range allStates {
		reached := []JobState{from}
		for i := 0; i < len(reached); i++ {
			for _, to := range transitions[reached[i]] {
				if !slices.Contains(reached, to) {
					reached = append(reached, to)
				}
			}
		}
		if !slices.Contains(reached, JobRunning) || !slices.Contains(reached, JobStopped) {
			t.Errorf("from %s only %v can be reached", from, reached)
		}
	}
}

func TestAUserStartsAFailedJobAgainByAWordOrByANewRevision(t *testing.T) {
	for name, c := range map[string]Command{
		"a word":         &SetDesired{At: 9, UID: "p1", Desired: DesiredRunning},
		"a new revision": &ApplyPipeline{At: 9, Namespace: "default", Name: "p", Revision: Revision{Graph: testDigest(5), Spec: testDigest(1), Widths: []int{1}, Delivery: ExactlyOnce}},
	} {
		next, _, err := inState(JobFailed).Apply(c)
		if err != nil {
			t.Fatal(err)
		}
		p, _ := next.Pipeline("p1")
		if p.Job.State != JobRestarting || p.Job.Runs(0) {
			t.Errorf("%s: the job is %s, regions %v", name, p.Job.State, p.Job.Regions)
		}
	}
	// Applying what is current already is no such word.
	s := inState(JobFailed)
	p, _ := s.Pipeline("p1")
	next, r, err := s.Apply(&ApplyPipeline{At: 9, Namespace: "default", Name: "p", Revision: p.Current})
	if err != nil || next != s || !r.Unchanged {
		t.Errorf("applied again: %+v, %v", r, err)
	}
}

package planner

import (
	"maps"
	"slices"
	"strings"

	"github.com/weirstream/weir/platform/auth/secrets"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/planner/pipelinefile"
)

// qualify names secrets with their namespace, so that a graph needs no context.
// What cannot be qualified stays, and is a problem of checkSecrets.
func (l *logical) qualify(options map[string]any) map[string]any {
	for name, v := range options {
		if text, ok := v.(string); ok && secrets.HasRef(text) {
			if qualified, _, err := secrets.Qualify(text, l.namespace()); err == nil {
				options[name] = qualified
			}
		}
	}
	return options
}

// checkSecrets holds what options refer to against the secrets that there are, and
// keeps them out of options whose values show.
func (l *logical) checkSecrets(pos pipelinefile.Pos, spec connector.Spec, options map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(options)) {
		text, ok := options[name].(string)
		if !ok || !secrets.HasRef(text) {
			continue
		}
		if i := slices.IndexFunc(spec.Fields, func(f connector.Field) bool { return f.Name == name }); i >= 0 && spec.Fields[i].Public {
			l.problem(pos, "put the value itself there, or the secret into another option", "option %q cannot have a secret: its value shows in positions and status", name)
			continue
		}
		_, err := secrets.Expand(text, func(namespace, secret string) (string, error) {
			if namespace == l.namespace() && !l.world.HasSecret(secret) {
				l.problem(pos, "make it by: weir secret set "+secret, "there is no secret %q", secret)
			}
			return "", nil
		})
		if err != nil || !qualified(text, l.namespace()) {
			_, _, err := secrets.Qualify(text, l.namespace())
			l.problem(pos, "", "option %q: %v", name, err)
		}
	}
}

// qualified tells whether all references of a text are in one namespace, as qualify leaves them.
func qualified(text, namespace string) bool {
	return strings.Count(text, "${secret:") == strings.Count(text, "${secret:"+namespace+"/")
}

package auth

import (
	"fmt"
	"strings"

	"github.com/weirstream/weir/raftmeta/catalog"
)

// Scope says how a call is held against the namespace of a token.
type Scope uint8

// The scopes.
const (
	// InNamespace is a call about the namespace that its request names; none means the default one.
	InNamespace Scope = iota + 1
	// InNamespaces is the same, but none means all of them.
	InNamespaces
	// Everywhere is a call about the whole cluster: a token of one namespace may not make it.
	Everywhere
	// Filtered is a call whose handler shows each caller what it may see.
	Filtered
)

// Access is what a method needs.
type Access struct {
	// Roles are those that may call it; none means that no token is needed.
	Roles []catalog.Role
	Scope Scope
}

// Open tells that anybody may call.
func (a Access) Open() bool { return len(a.Roles) == 0 }

// The roles that may do what needs at least one of them. An admin may everything.
var (
	nobody  []catalog.Role // in particular: no token at all is needed
	anyRole = []catalog.Role{catalog.RoleRead, catalog.RoleDeploy, catalog.RoleWorker, catalog.RoleAdmin}
	readers = []catalog.Role{catalog.RoleRead, catalog.RoleDeploy, catalog.RoleAdmin}
	deploys = []catalog.Role{catalog.RoleDeploy, catalog.RoleAdmin}
	admins  = []catalog.Role{catalog.RoleAdmin}
	workers = []catalog.Role{catalog.RoleWorker, catalog.RoleAdmin}
)

// methods is who may call what, by service and method. A test at the root holds
// that every method of the API is here.
var methods = map[string]map[string]Access{
	"weir.v1.TopicService": {
		"CreateTopic":   {deploys, InNamespace},
		"GetTopic":      {readers, InNamespace},
		"ListTopics":    {readers, InNamespace},
		"DeleteTopic":   {deploys, InNamespace},
		"Publish":       {deploys, InNamespace},
		"PublishFrames": {deploys, InNamespace},
		"Read":          {readers, InNamespace},
	},
	"weir.v1.ModuleService": {
		"PushModule":   {deploys, InNamespace},
		"GetModule":    {readers, InNamespace},
		"ListModules":  {readers, InNamespace},
		"DeleteModule": {deploys, InNamespace},
	},
	"weir.v1.PipelineService": {
		"ValidatePipeline":  {readers, InNamespace},
		"DiffPipeline":      {readers, InNamespace},
		"ApplyPipeline":     {deploys, InNamespace},
		"ListPipelines":     {readers, InNamespace},
		"GetPipeline":       {readers, InNamespace},
		"WatchPipeline":     {readers, InNamespace},
		"StopPipeline":      {deploys, InNamespace},
		"ResumePipeline":    {deploys, InNamespace},
		"RescalePipeline":   {deploys, InNamespace},
		"DeletePipeline":    {deploys, InNamespace},
		"Logs":              {readers, InNamespace},
		"ListCheckpoints":   {readers, InNamespace},
		"ListDeadLetters":   {readers, InNamespace},
		"ReplayDeadLetters": {deploys, InNamespace},
	},
	"weir.v1.SystemService": {
		"GetVersion":      {anyRole, Filtered},
		"Doctor":          {readers, Everywhere},
		"CreateNamespace": {admins, Everywhere},
		"ListNamespaces":  {readers, Filtered},
		"DeleteNamespace": {admins, Everywhere},

		"SetNamespaceLimits": {admins, Everywhere},
	},
	"weir.v1.SavepointService": {
		"CreateSavepoint": {deploys, InNamespace},
		"ListSavepoints":  {readers, InNamespace},
		"GetSavepoint":    {readers, InNamespace},
		"ExportSavepoint": {deploys, InNamespace},
		"ImportSavepoint": {deploys, InNamespace},
		"DeleteSavepoint": {deploys, InNamespace},
	},
	"weir.v1.BackupService": {
		"CreateBackup":  {admins, Everywhere},
		"RestoreBackup": {admins, Everywhere},
	},
	"weir.v1.StateService": {
		"GetState":  {readers, InNamespace},
		"DumpState": {readers, InNamespace},
	},
	// Who may send or call may make a function do what it can: that is deploying's role, as publishing to a topic is.
	"weir.v1.FunctionService": {
		"Send":              {deploys, InNamespace},
		"Call":              {deploys, InNamespace},
		"GetFunctionState":  {readers, InNamespace},
		"ListFunctions":     {readers, InNamespace},
		"GetFunction":       {readers, InNamespace},
		"ListQuarantine":    {readers, InNamespace},
		"ControlQuarantine": {deploys, InNamespace},
	},
	"weir.v1.TokenService": {
		"CreateToken": {admins, InNamespaces},
		"ListTokens":  {admins, Filtered},
		"RevokeToken": {admins, Filtered},
	},
	"weir.v1.AuditService": {
		"ReadAudit": {admins, Filtered},
	},
	"weir.v1.SecretService": {
		"SetSecret":    {deploys, InNamespace},
		"ListSecrets":  {readers, InNamespace},
		"DeleteSecret": {deploys, InNamespace},
		"OpenSecret":   {[]catalog.Role{catalog.RoleWorker}, InNamespace}, // no admin's: a value never comes back to a person
	},
	"weir.v1.WorkerService": {
		"ListWorkers":      {readers, Everywhere},
		"DrainWorker":      {admins, Everywhere},
		"ListControllers":  {readers, Everywhere},
		"AddController":    {admins, Everywhere},
		"RemoveController": {admins, Everywhere},
	},
	"weir.v1.ClusterService": {
		"About":     {workers, Everywhere},
		"Join":      {workers, Everywhere},
		"Follow":    {workers, Everywhere},
		"Report":    {workers, Everywhere},
		"Drain":     {workers, Everywhere},
		"Leave":     {workers, Everywhere},
		"FindTopic": {workers, InNamespace},
		"Announce":  {workers, Everywhere},
	},
	"grpc.health.v1.Health": {
		"Check": {nobody, Filtered},
		"Watch": {nobody, Filtered},
	},
	"grpc.reflection.v1.ServerReflection":      {"ServerReflectionInfo": {anyRole, Filtered}},
	"grpc.reflection.v1alpha.ServerReflection": {"ServerReflectionInfo": {anyRole, Filtered}},
}

// paths is who may get what over plain HTTP.
var paths = map[string]Access{
	"/healthz": {nobody, Filtered},
	"/metrics": {readers, Everywhere},
}

// InternalPath begins the paths of what the processes of a cluster say to each
// other beside the API: the log's tunnel, exchange, objects.
const InternalPath = "/weir.internal/"

// FunctionsPath begins the paths of messages to functions over plain HTTP.
const FunctionsPath = "/v1/functions/"

// AccessTo says what a path of the HTTP port needs: a procedure of the API, or a
// page. What is in no table is an admin's.
func AccessTo(path string) Access {
	if a, ok := paths[path]; ok {
		return a
	}
	if strings.HasPrefix(path, InternalPath) {
		return Access{workers, Everywhere}
	}
	if strings.HasPrefix(path, FunctionsPath) {
		return Access{deploys, InNamespace}
	}
	if service, method, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/"); ok {
		if a, ok := Method(service, method); ok {
			return a
		}
	}
	return Access{admins, Everywhere}
}

// Method says what a method of the API needs.
func Method(service, method string) (Access, bool) {
	a, ok := methods[service][method]
	return a, ok
}

// Admit refuses a caller whose role or namespace is not enough for a call, as far as the path tells.
func (a Access) Admit(p Principal, path string) error {
	if a.Open() {
		return nil
	}
	name := path[strings.LastIndexByte(path, '/')+1:]
	if strings.HasPrefix(path, FunctionsPath) {
		name = "a message to a function"
	}
	for _, r := range a.Roles {
		if r != p.Role {
			continue
		}
		if a.Scope == Everywhere && p.Namespace != "" {
			return &Refusal{ErrDenied, fmt.Sprintf("token %s is for namespace %s, and %s is about the whole cluster", p.ID, p.Namespace, name),
				"use a token that was made without --namespace"}
		}
		return nil
	}
	return &Refusal{ErrDenied, fmt.Sprintf("token %s has the role %s, and %s needs %s", p.ID, p.Role, name, a.Roles[0]),
		"use a token of that role: weir token create --role " + string(a.Roles[0])}
}

// AdmitNamespace refuses a call about a namespace that is not the caller's.
func (a Access) AdmitNamespace(p Principal, namespace string) error {
	if p.Namespace == "" || a.Open() || a.Scope == Everywhere || a.Scope == Filtered {
		return nil
	}
	about := "namespace " + namespace
	switch {
	case namespace == "" && a.Scope == InNamespaces:
		about = "all namespaces"
	case namespace == "":
		namespace = catalog.DefaultNamespace
		about = "namespace " + namespace
	}
	if namespace == p.Namespace {
		return nil
	}
	return &Refusal{ErrDenied, fmt.Sprintf("token %s is for namespace %s, and the call is about %s", p.ID, p.Namespace, about),
		fmt.Sprintf("call with --namespace %s or WEIR_NAMESPACE, or use another token", p.Namespace)}
}

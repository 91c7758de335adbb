package manifest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/weirstream/weir/abi/schema"
)

// The inputs and outputs of a function that has a type, as section 9 of the contract lists them.
var (
	messagesIn  = schema.MustParse("id:utf8,caller_type:utf8?,caller_id:utf8?,typename:utf8,value:binary?")
	statefulOut = map[string]string{
		"messages": "type:utf8,id:utf8,typename:utf8,value:binary?,op:int8,delay_ms:int64,token:utf8?",
		"egress":   "egress:utf8,typename:utf8,key:binary?,value:binary?",
		"requests": "method:utf8,url:utf8,headers:utf8?,body:binary?,handler:utf8,payload:binary?,timeout_ms:int64,attempts:int32",
	}
)

const (
	maxTypeBytes = 128
	ownNamespace = "io.weir"
	messagesName = "messages"
	messageKey   = "id"
)

// checkStateful holds a function with a type against what such a one takes and gives.
func (f *Function) checkStateful() error {
	if f.Type == "" {
		return nil
	}
	namespace, name, ok := strings.Cut(f.Type, "/")
	switch {
	case !ok || !typeName(namespace) || !typeName(name) || len(f.Type) > maxTypeBytes:
		return fmt.Errorf("type %q: want namespace/name of letters, digits, '.', '_' and '-', at most %d bytes", f.Type, maxTypeBytes)
	case namespace == ownNamespace:
		return fmt.Errorf("type %q: the namespace %s is Weir's own", f.Type, ownNamespace)
	case len(f.Inputs) != 1 || f.Inputs[0].Name != messagesName || len(f.Inputs[0].Key) != 1 || f.Inputs[0].Key[0] != messageKey:
		return fmt.Errorf("it has a type, so it takes one input, %q, with the key %q", messagesName, messageKey)
	case len(f.Timers) > 0:
		return errors.New("it has a type, so it has no timers: it sends messages to itself, later")
	case len(f.Outputs) == 0 || f.Outputs[0].Name != messagesName:
		return fmt.Errorf("it has a type, so its output 0 is %q", messagesName)
	}
	for _, c := range f.Inputs[0].schema.Fields {
		at := messagesIn.Index(c.Name)
		if at < 0 || !messagesIn.Fields[at].Type.Equal(&c.Type) {
			return fmt.Errorf("input %s: column %s is none of %s", messagesName, c.Name, messagesIn)
		}
	}
	for i := range f.Outputs {
		o := &f.Outputs[i]
		if want, ok := statefulOut[o.Name]; !ok || want != o.Columns {
			return fmt.Errorf("output %s: it has a type, so its outputs are messages, egress and requests, with the columns of the contract", o.Name)
		}
	}
	return nil
}

func typeName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-') {
			return false
		}
	}
	return s != ""
}

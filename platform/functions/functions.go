// Package functions holds what the parts that run stateful functions agree on:
// the columns that messages travel as, addresses, and the types that are the
// platform's own. ADR 15 says why messages are rows. It must not know operators,
// modules or the network.
package functions

import (
	"github.com/weirstream/weir/abi/schema"
)

// Message is how messages travel between operators and in ingress topics. A null
// caller is the outside; a null value is a message of a type name alone.
//
// Sent is output 0 of a function: what it sends, with the caller behind it, which
// the host adds. Egress is what it gives to the outside, and Request asks the host
// for a call over HTTP; both with the caller too.
//
// Guest* is what the function itself gives: the same without the caller.
var (
	Message = schema.MustParse("type:utf8,id:utf8,caller_type:utf8?,caller_id:utf8?,typename:utf8,value:binary?")

	GuestMessage = schema.MustParse("id:utf8,caller_type:utf8?,caller_id:utf8?,typename:utf8,value:binary?")
	GuestSent    = schema.MustParse("type:utf8,id:utf8,typename:utf8,value:binary?,op:int8,delay_ms:int64,token:utf8?")
	GuestEgress  = schema.MustParse("egress:utf8,typename:utf8,key:binary?,value:binary?")
	GuestRequest = schema.MustParse("method:utf8,url:utf8,headers:utf8?,body:binary?,handler:utf8,payload:binary?,timeout_ms:int64,attempts:int32")

	Sent    = schema.MustParse(GuestSent.String() + caller)
	Egress  = schema.MustParse(GuestEgress.String() + caller)
	Request = schema.MustParse(GuestRequest.String() + caller)
)

const caller = ",caller_type:utf8,caller_id:utf8"

// Columns of Message, by position.
const (
	MessageType = iota
	MessageID
	MessageCallerType
	MessageCallerID
	MessageTypename
	MessageValue
)

// Columns of Sent, by position.
const (
	SentType = iota
	SentID
	SentTypename
	SentValue
	SentOp
	SentDelayMs
	SentToken
	SentCallerType
	SentCallerID
)

// Columns of Egress, by position.
const (
	EgressName = iota
	EgressTypename
	EgressKey
	EgressValue
	EgressCallerType
	EgressCallerID
)

// What a row of Sent asks for.
const (
	OpSend   = 0 // deliver it now
	OpDelay  = 1 // deliver it after delay_ms
	OpCancel = 2 // drop the delayed message of the token, if it still waits
)

// Names of inputs and outputs of a function that has an address.
const (
	MessagesName = "messages"
	EgressOutput = "egress"
	RequestsName = "requests"
	KeyColumn    = "id"
)

// Types of addresses and of values that are the platform's own. Nobody else may declare types of this namespace.
const (
	Namespace = "io.weir"
	// CallType is the caller's type of a call through the API; its id names the
	// call and where its answer is awaited.
	CallType = Namespace + "/call"
	// AnswerTypename is the type name of an answer to a request over HTTP.
	AnswerTypename = Namespace + "/answer"
	// ControlTypename is the type name of a command to the address itself, such as to release it from quarantine.
	ControlTypename = Namespace + "/control"
	// JSONTypename and BytesTypename are the type names of values that have no other.
	JSONTypename  = Namespace + "/json"
	BytesTypename = Namespace + "/bytes"
)

// Internal says whether a type name is one that only the platform gives to messages.
func Internal(typename string) bool { return typename == AnswerTypename || typename == ControlTypename }

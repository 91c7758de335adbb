// Package outbox is the operator at the end of a stage of stateful functions: it
// sends what functions send, keeps what is to be sent later, and gives what is
// for the outside to the sinks. It must not know what a function is.
package outbox

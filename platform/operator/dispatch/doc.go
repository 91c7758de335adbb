// Package dispatch is the operator at the head of a stage of stateful functions:
// it gives the messages of each type to the operator of that type. It must not
// know what a function is, nor where messages come from.
package dispatch

// Package parked is the operator that keeps messages to functions that are not
// there, and sends them again once they are. It must not know modules.
package parked

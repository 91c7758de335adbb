// Package rewrite turns an uploaded WebAssembly module into one that can be
// interrupted, or refuses it by name.
//
// It parses the WebAssembly 2.0 binary format, checks the module against a
// Policy (which imports it may have, which exports it must have, how large its
// tables are), and then adds a meter: a mutable global counts down by an upper
// bound of the work ahead, and at zero the module calls the imported function
// "weir.yield", which answers with new fuel. Mutable globals are exported under
// reserved names, so that an instance's memory image can be restored in full.
//
// # The meter
//
// Work is paid before it is done. A checkpoint pays for a number of
// instructions; each instruction uses up what was paid; where paths meet, the
// poorer one counts; where too little is left, another checkpoint is placed, in
// the middle of an expression if need be, because it leaves the operand stack
// alone. Checkpoints stand at each function entry and each loop head in any
// case, so recursion and loops cannot escape them. A function without loops and
// calls that is smaller than smallCost has none: its callers pay for it.
//
// In a function with loops the counter is a local, which the compiler keeps in
// a register. It is filled in chunks from the global; what is left of a chunk at
// the end of the function is lost. Fuel is a slice of time, not a bill, so that
// costs nothing but an earlier yield.
//
// Bytes in, bytes out: the package must not know which engine runs the result,
// nor what a host does when the module yields.
package rewrite

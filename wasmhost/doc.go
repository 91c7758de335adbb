// Package wasmhost runs one untrusted WebAssembly function safely and fast.
//
// A Host compiles modules: it checks them, adds the meter (package rewrite) and
// keeps the machine code on disk. A Module makes Instances. An Instance belongs
// to one goroutine at a time; its methods are the exports of the contract in
// abi/README.md. Memory, time and output of every call are limited, every
// pointer and length that comes from the guest is checked, and every way to stop
// has a named error. After such an error the instance is dead: its owner closes
// it and makes a new one.
//
// The package is the only importer of wazero. It must not know pipelines, tasks,
// checkpoints or what stands in a frame.
package wasmhost

#!/bin/sh
# Builds hostile.wasm. Needs Debian's clang-19, lld-19, wasi-libc and
# libclang-rt-19-dev-wasm32.
set -e
cd "$(dirname "$0")"
clang-19 --target=wasm32-wasi --sysroot=/usr -O2 -mbulk-memory -mreference-types -mno-tail-call \
	-mexec-model=reactor -Wl,--strip-debug -o hostile.wasm hostile.c

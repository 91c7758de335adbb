#!/bin/sh
# Builds hostile.wasm. Needs Debian's clang-19 and lld-19.
set -eu
cd "$(dirname "$0")"
clang-19 --target=wasm32 -std=c11 -O2 -ffreestanding -nostdlib -mbulk-memory -Wall \
	-Wl,--no-entry -Wl,--strip-debug -o hostile.wasm hostile.c

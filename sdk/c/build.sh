#!/bin/sh
# Builds a module: build.sh module.c [module.wasm]. CC overrides the compiler; the committed modules come from clang 19.
# The bytes depend on the compiler's version and the sources alone: no paths, no times, no producers section. Function
# names stay, because a trap's report shows the guest's stack by name.
set -eu
source=$1
target=${2:-${source%.c}.wasm}
exec "${CC:-clang-19}" --target=wasm32 -std=c11 -O3 -mbulk-memory -ffreestanding -nostdlib -Wall -Wextra \
    -I"$(dirname "$0")" -Wl,--no-entry -Wl,--strip-all -Wl,--keep-section=name -o "$target" "$source"

#!/bin/sh
# Installs what the tests of C guests need, where it can.
set -eu
if command -v clang-19 >/dev/null 2>&1 && [ -e /usr/include/wasm32-wasi/stdlib.h ]; then
    exit 0
fi
if command -v apt-get >/dev/null 2>&1; then
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    export DEBIAN_FRONTEND=noninteractive
    $sudo apt-get update -qq
    packages="clang-19 lld-19 wasi-libc libclang-rt-19-dev-wasm32"
    $sudo apt-get install -y -qq --no-install-recommends $packages && exit 0
fi
echo "clang 19 with the wasm32 target and lld are missing: the C guests cannot be rebuilt here." >&2
echo "Debian: apt-get install clang-19 lld-19 wasi-libc libclang-rt-19-dev-wasm32; macOS: brew install llvm lld wasi-libc" >&2
[ -z "${CI:-}" ]

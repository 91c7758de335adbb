#!/bin/sh
# Installs what the tests of C guests need, and those of servers that were written with StateFun's SDKs, where it can.
set -eu

# install PACKAGES... by apt, where there is one.
install() {
    command -v apt-get >/dev/null 2>&1 || return 1
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    export DEBIAN_FRONTEND=noninteractive
    $sudo apt-get update -qq
    $sudo apt-get install -y -qq --no-install-recommends "$@"
}

sdks=
python3 -c 'import venv, ensurepip' 2>/dev/null || sdks="$sdks python3 python3-venv"
command -v npm >/dev/null 2>&1 || sdks="$sdks nodejs npm"
command -v mvn >/dev/null 2>&1 || sdks="$sdks maven default-jdk-headless"
if [ -n "$sdks" ] && ! install $sdks; then
    echo "missing, so tests with some of StateFun's SDKs are left out:$sdks" >&2
    [ -z "${CI:-}" ]
fi

if command -v clang-19 >/dev/null 2>&1 && [ -e /usr/include/wasm32-wasi/stdlib.h ]; then
    exit 0
fi
install clang-19 lld-19 wasi-libc libclang-rt-19-dev-wasm32 && exit 0
echo "clang 19 with the wasm32 target and lld are missing: the C guests cannot be rebuilt here." >&2
echo "Debian: apt-get install clang-19 lld-19 wasi-libc libclang-rt-19-dev-wasm32; macOS: brew install llvm lld wasi-libc" >&2
[ -z "${CI:-}" ]

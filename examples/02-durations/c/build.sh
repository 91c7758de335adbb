#!/bin/sh
# Builds durations.wasm. The SDK is one header: WEIR_SDK names its folder.
set -eu
cd "$(dirname "$0")"
exec "${WEIR_SDK:-../../../sdk/c}/build.sh" durations.c

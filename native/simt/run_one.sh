#!/bin/sh
# Runs a program that calls kernels, on the emulator, without CMake:  native/simt/run_one.sh DRIVER.cpp [OP.cu ...]
# (test/bare_device.h is a lethe_device to call operations with.)  SANITIZE=1: with the address and undefined-behaviour sanitizers.
set -e
here=$(dirname "$0") out=${OUT:-$(mktemp -d)} gxx="$(command -v ccache || true) g++"
[ -z "$SANITIZE" ] || sanitize="-fsanitize=address,undefined -fno-sanitize-recover=undefined"
flags="-std=c++20 -O2 -g -march=x86-64-v3 -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wno-unknown-pragmas $sanitize"
includes="-I$here/include -I$here/../cuda -I$here/../abi -I$here/../include -I$here/test"
for source in "$@" "$here"/*.cpp; do
  $gxx $flags $includes -x c++ -c "$source" -o "$out/$(basename "$source").o"
done
g++ $sanitize -rdynamic "$out"/*.o -o "$out/program"
"$out/program"

#!/bin/sh
# Cross-builds the kernels for arm64 and runs their tests under qemu.
#   tests/arm64.sh DIR [seed...]
# Needs gcc-aarch64-linux-gnu and qemu-user; SLEEF for arm64 comes by apt into DIR, with
# lists of its own, so that the system's package state is not touched.
set -eu
dir=${1:?directory}
shift
cc=aarch64-linux-gnu-gcc
triple=aarch64-linux-gnu
mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial" "$dir/obj"
dir=$(cd "$dir" && pwd)

if [ ! -e "$dir/root/usr/lib/$triple/libsleef.so" ]; then
  : > "$dir/status"
  opt="-q -o Dir::State::lists=$dir/lists -o Dir::Cache=$dir/cache -o Dir::State::status=$dir/status
    -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User="
  # shellcheck disable=SC2086
  (cd "$dir" && apt-get $opt update && apt-get $opt download libsleef-dev libsleef3 libxxhash-dev libxxhash0)
  for deb in "$dir"/*.deb; do dpkg -x "$deb" "$dir/root"; done
fi

flags="-std=gnu11 -D_GNU_SOURCE -O2 -g -Wall -Wextra -Wshadow -Wstrict-prototypes -Werror -Wno-error=maybe-uninitialized
  -Wno-missing-field-initializers
  -ffp-contract=off -fno-math-errno -fopenmp -Ilib -Itests -I$dir/root/usr/include/$triple"
lib=
for src in lib/base/*.c lib/tensor/dtype.c lib/rng/*.c lib/kern/*.c lib/kern/arm/*.c; do
  obj=$dir/obj/$(echo "$src" | tr / _).o
  isa=; case $src in *_dotprod.c) isa=-march=armv8.2-a+dotprod ;; esac
  # shellcheck disable=SC2086
  $cc $flags $isa -c -o "$obj" "$src"
  lib="$lib $obj"
done
for test in test_kern test_drivers; do
  # shellcheck disable=SC2086
  $cc $flags -o "$dir/$test" "tests/kern/$test.c" $lib \
    -L"$dir/root/usr/lib/$triple" -lsleef -lxxhash -lm -lpthread
  for seed in "${@:-1}"; do
    # the cross compiler's libc, then ours
    qemu-aarch64 -L "/usr/$triple" -E LD_LIBRARY_PATH="$dir/root/usr/lib/$triple" \
      "$dir/$test" --seed "$seed"
  done
done

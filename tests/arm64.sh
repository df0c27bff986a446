#!/bin/sh
# Cross-builds the kernels and the program for arm64 and runs them under qemu: the kernels' tests,
# and the replay of a log that this machine's build wrote, to the same hashes.
#   [ZOFT=build/zoft] tests/arm64.sh DIR [seed...]
# Needs gcc-aarch64-linux-gnu and qemu-user; the libraries for arm64 come by apt into DIR, with
# lists of its own, so that the system's package state is not touched.
set -eu
dir=${1:?directory}
shift
cc=aarch64-linux-gnu-gcc
triple=aarch64-linux-gnu
mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial" "$dir/obj"
dir=$(cd "$dir" && pwd)

if [ ! -e "$dir/root/usr/lib/$triple/libedit.so" ]; then
  : > "$dir/status"
  opt="-q -o Dir::State::lists=$dir/lists -o Dir::Cache=$dir/cache -o Dir::State::status=$dir/status
    -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User="
  # shellcheck disable=SC2086
  (cd "$dir" && apt-get $opt update &&
    names=$(apt-cache $opt depends libsleef-dev libxxhash-dev libjansson-dev libyaml-dev libpcre2-dev \
      libutf8proc-dev libzstd-dev libedit-dev libedit2 libbsd0 | sed -n 's/^  Depends: \(lib[a-z0-9.-]*\)$/\1/p' | grep -v '^libc6' | sort -u) &&
    apt-get $opt download libsleef-dev libxxhash-dev libjansson-dev libyaml-dev libpcre2-dev \
      libutf8proc-dev libzstd-dev libedit-dev zlib1g-dev zlib1g $names)
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

# The program, and a log of this machine's.  Some libraries still lie in /lib.
root=$dir/root/usr
low=$dir/root/lib/$triple
make -j2 --no-print-directory all CC=$cc BUILD="$dir/build" SYS="-isystem $root/include -isystem $root/include/$triple" \
  SYS_LIBS="-L$root/lib/$triple -Wl,-rpath-link,$root/lib/$triple:$low" PKG_CFLAGS= \
  PKG_LIBS="-ljansson -lpcre2-8 -lutf8proc -lyaml -lxxhash -lz -lzstd" | tail -n 1
arm() { qemu-aarch64 -L "/usr/$triple" -E LD_LIBRARY_PATH="$root/lib/$triple:$low" "$dir/build/zoft" "$@"; }
for type in f32 f24 bf16; do
  "${ZOFT:-build/zoft}" train configs/demo.yaml output_dir="$dir/log" overwrite_output_dir=true compute=f32 \
    max_steps=24 keyframe_steps=8 eval_steps=never eval_on_start=false test_datasets=[] num_train=64 \
    trained_dtype=$type -q --json >/dev/null
  here=$("${ZOFT:-build/zoft}" replay "$dir/log" --verify --json | sed 's/"seconds": [0-9.]*, //')
  there=$(arm replay "$dir/log" --verify --json | sed 's/"seconds": [0-9.]*, //')
  [ "$here" = "$there" ] || { echo "FAIL replay of $type on arm64: $there, here: $here"; exit 1; }
  echo "replay of $type: $there"
done

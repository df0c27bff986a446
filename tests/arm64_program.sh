#!/bin/sh
# Cross-builds the program for arm64 without shared libraries: DIR/build/zoft-static.
#   tests/arm64_program.sh DIR
# Needs gcc-aarch64-linux-gnu; the libraries for arm64 come by apt into DIR, with lists of its own, so that the system's
# package state is not touched.
set -eu
dir=${1:?directory}
triple=aarch64-linux-gnu
mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
dir=$(cd "$dir" && pwd)
root=$dir/root/usr

if [ ! -e "$root/lib/$triple/libtinfo.a" ]; then
  : > "$dir/status"
  opt="-q -o Dir::State::lists=$dir/lists -o Dir::Cache=$dir/cache -o Dir::State::status=$dir/status
    -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User="
  dev="libsleef-dev libxxhash-dev libjansson-dev libyaml-dev libpcre2-dev libutf8proc-dev libzstd-dev libedit-dev"
  # shellcheck disable=SC2086
  (cd "$dir" && apt-get $opt update &&
    names=$(apt-cache $opt depends $dev | sed -n 's/^  Depends: \(lib[a-z0-9.-]*\)$/\1/p' | grep -v '^libc6' | sort -u) &&
    apt-get $opt download $dev zlib1g-dev zlib1g libmd-dev libncurses-dev $names)
  for deb in "$dir"/*.deb; do dpkg -x "$deb" "$dir/root"; done
fi

make -j2 --no-print-directory static CC=$triple-gcc BUILD="$dir/build" PKG_CFLAGS= \
  SYS="-isystem $root/include -isystem $root/include/$triple" SYS_LIBS="-L$root/lib/$triple" \
  SLEEF_SO="$(readlink -f "$root/lib/$triple/libsleef.so")" \
  STATIC_LIBS="-ljansson -lpcre2-8 -lutf8proc -lyaml -lxxhash -lz -lzstd -ledit -ltinfo -lbsd -lmd"

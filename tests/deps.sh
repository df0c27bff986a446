#!/bin/sh
# Installs what zoft needs and is missing, and says what and why.  Debian and Ubuntu (apt), macOS
# (Homebrew); elsewhere it names what to install.
set -u

missing=""
why=""
need() { # need <test command> <debian package> <homebrew formula> <why>
  if ! sh -c "$1" >/dev/null 2>&1; then
    missing="$missing $2"
    brew="$brew $3"
    why="$why
  $2: $4"
  fi
}

has_header() {
  echo "printf '#include <%s>\n' '$1' | ${CC:-cc} $(brew --prefix 2>/dev/null | sed 's|^|-I|;s|$|/include|') -E -x c - -o /dev/null"
}

brew=""
case "$(uname -s)" in
Darwin) PKG_CONFIG_PATH="$(brew --prefix 2>/dev/null)/lib/pkgconfig:${PKG_CONFIG_PATH:-}"; export PKG_CONFIG_PATH ;;
esac

need "command -v ${CC:-cc}" build-essential gcc "C compiler and make"
need "command -v pkg-config" pkg-config pkg-config "finds the libraries"
need "pkg-config --exists yaml-0.1" libyaml-dev libyaml "configs (YAML)"
need "pkg-config --exists jansson" libjansson-dev jansson "JSON"
need "pkg-config --exists libpcre2-8" libpcre2-dev pcre2 "tokenizer patterns"
need "pkg-config --exists libutf8proc" libutf8proc-dev utf8proc "Unicode normalisation"
need "pkg-config --exists libxxhash" libxxhash-dev xxhash "hashes of weights and data"
need "pkg-config --exists zlib" zlib1g-dev zlib "data files that end in .gz"
need "pkg-config --exists libzstd" libzstd-dev zstd "data files that end in .zst"
need "pkg-config --exists libedit" libedit-dev libedit "editing lines in zoft chat"
need "pkg-config --exists check" check check "unit tests"
need "$(has_header sleef.h)" libsleef-dev sleef "vector math"
if [ "$(uname -s)" = Darwin ]; then
  need "test -f \"$(brew --prefix 2>/dev/null)/opt/libomp/lib/libomp.dylib\"" libomp-dev libomp "threads (OpenMP)"
elif ${CC:-cc} --version 2>/dev/null | grep -q clang; then
  need "printf '#include <omp.h>\nint main(void){return omp_get_max_threads()<1;}' | ${CC:-cc} -fopenmp -x c - -o /dev/null" libomp-dev libomp "threads (OpenMP for clang)"
fi
[ -z "$missing" ] && exit 0

echo "zoft needs what is not installed here:$why"
if [ "$(uname -s)" = Darwin ] && command -v brew >/dev/null; then
  echo "Installing with Homebrew:$brew"
  # shellcheck disable=SC2086
  exec brew install $brew
fi
if command -v apt-get >/dev/null; then
  sudo=""
  [ "$(id -u)" = 0 ] || sudo=sudo
  echo "Installing with apt-get:$missing"
  $sudo apt-get update -q || true
  # shellcheck disable=SC2086
  exec $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
fi
echo "Install these with your system's package manager and try again." >&2
exit 1

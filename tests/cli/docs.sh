#!/bin/sh
# The documents: docs/reference.md is what the program states, links lead somewhere, README stays short.
. tests/cli/lib.sh

sh tests/reference.sh "$ZOFT" >"$T/reference.md"
check "docs/reference.md is current ('make docs' writes it)" cmp "$T/reference.md" docs/reference.md
check "README.md has at most 900 words" [ "$(wc -w <README.md)" -le 900 ]

# Every target of a link in a page, one a line.
targets() { perl -0ne 's/```.*?```//gs; print "$1\n" while /\]\(([^)\s]+)\)/g' "$1"; }
# The anchors of a page, as they are made from its headings.
anchors() { perl -CSD -ne 'if (/^#+ +(.*)/) { $_ = lc $1; s/[^\w\- ]//g; s/ /-/g; print "$_\n" }' "$1"; }

for page in README.md CONTRIBUTING.md docs/*.md datasets/README.md; do
  for target in $(targets "$page"); do
    case $target in http*) continue ;; esac
    file=${target%%#*}
    if [ -n "$file" ]; then file=$(dirname "$page")/$file; else file=$page; fi
    check "$page: $target" [ -e "$file" ]
    case $target in
    *'#'*) check "$page: $target" sh -c 'grep -qx -- "$1"' - "${target#*#}" <<END ;;
$(anchors "$file")
END
    esac
  done
done
finish

#!/bin/sh
# Signals, requests by file, divergence, full and read-only disks.
. tests/cli/lib.sh

sed -e "s|^output_dir:.*|output_dir: $T/out|" configs/demo.yaml >"$T/c.yaml"
status_of() { sed -n 's/.*"status": "\([^"]*\)".*/\1/p' "$1/run.json"; }

# begun DIR: waits until steps are being taken
begun() {
  for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
    grep -q '"train"' "$1/metrics.jsonl" 2>/dev/null && return
    sleep 1
  done
}

for signal in INT TERM; do
  "$ZOFT" train "$T/c.yaml" output_dir="$T/$signal" max_steps=1000000 eval_steps=never eval_on_start=false -q 2>"$T/err" &
  pid=$!
  begun "$T/$signal"
  kill -$signal $pid
  wait $pid
  got=$?
  want=130
  [ $signal = TERM ] && want=143
  check "SIG$signal: exit status $got" test $got = $want
  check "SIG$signal: status" test "$(status_of "$T/$signal")" = interrupted
  check "SIG$signal: a checkpoint" sh -c "ls '$T/$signal'/checkpoints/step-*/model.safetensors >/dev/null"
  check "SIG$signal: the message" grep -q '^zoft: interrupted after step [0-9]*; checkpoint in ' "$T/err"
  check "SIG$signal: the checkpoint loads" sh -c "'$ZOFT' inspect '$T/$signal'/checkpoints/step-* >/dev/null"
done

"$ZOFT" train "$T/c.yaml" output_dir="$T/asked" max_steps=1000000 eval_steps=never eval_on_start=false -q --json >"$T/asked.json" &
pid=$!
begun "$T/asked"
touch "$T/asked/save"
for _ in 1 2 3 4 5 6 7 8 9 10; do
  [ -e "$T/asked/save" ] || break
  sleep 1
done
check "touch save: a checkpoint" sh -c "sleep 1; ls '$T/asked'/checkpoints/step-*/model.safetensors >/dev/null"
touch "$T/asked/stop"
wait $pid
got=$?
check "touch stop: exit status $got" test $got = 0
check "touch stop: status" test "$(status_of "$T/asked")" = "stopped early"
check "touch stop: a model" test -s "$T/asked/model.safetensors"

"$ZOFT" train "$T/c.yaml" output_dir="$T/div" max_steps=200 learning_rate=1e3 eval_steps=never eval_on_start=false loss_watchdog_patience=3 -q --json >"$T/div.json" 2>"$T/err"
got=$?
check "divergence: exit status $got" test $got = 6
check "divergence: status" test "$(status_of "$T/div")" = diverged
check "divergence: the message names the step and the cure" grep -q "^zoft: step [0-9]*: the loss.* a smaller learning_rate" "$T/err"

# What another program held before it became zoft is not zoft's.
case "$(uname) $ZOFT" in
*san-*) echo "SKIP another program's memory: sanitizers have memory of their own" ;;
Linux*)
  held() { perl -e '$x = "x" x 300e6; exec @ARGV' "$@"; }
  check "begun by a program of 300 MB" held "$ZOFT" train "$T/c.yaml" output_dir="$T/held" max_steps=2 eval_steps=never \
    memory_limit=200M -q --json >"$T/held.json"
  check "its peak is its own" perl -e '<STDIN> =~ /"peak_rss_bytes": (\d+)/ or exit 1; exit $1 > 2e8' <"$T/held.json"
  held "$ZOFT" bench memory "$T/c.yaml" --methods mezo --repeat 1 -o csv -q >"$T/held.csv"
  check "bench: its children's peaks are their own" perl -e '
    my @key = split /,/, <STDIN>; my @v = split /,/, <STDIN>;
    my ($at) = grep { $key[$_] =~ /^"?peak_rss_bytes/ } 0..$#key;
    exit !(defined $at && $v[$at] > 1e6 && $v[$at] < 2e8)' <"$T/held.csv"
  ;;
esac

if [ "$(id -u)" = 0 ] && mkdir "$T/small" && mount -t tmpfs -o size=300k tmpfs "$T/small" 2>/dev/null; then
  trap 'umount "$T/small" 2>/dev/null; umount "$T/ro" 2>/dev/null; rm -rf "$T"' EXIT
  "$ZOFT" train "$T/c.yaml" output_dir="$T/small/out" max_steps=2 eval_steps=never eval_on_start=false -q 2>"$T/err"
  got=$?
  check "disk full: exit status $got" test $got = 1
  check "disk full: the message" grep -q '^zoft: .*cannot write: No space left on device' "$T/err"
  check "disk full: no half model" test ! -e "$T/small/out/model.safetensors"
  check "disk full: no temporary file" sh -c "! find '$T/small' -name '*.tmp.*' | grep ."
  mkdir "$T/ro" && mount -t tmpfs -o ro tmpfs "$T/ro"
  "$ZOFT" train "$T/c.yaml" output_dir="$T/ro/out" max_steps=2 -q 2>"$T/err"
  got=$?
  check "read-only directory: exit status $got" test $got = 1
  check "read-only directory: the message" grep -q '^zoft: .*/ro/out: cannot make the directory: Read-only file system' "$T/err"
  umount "$T/small" "$T/ro"
else
  echo "SKIP full and read-only disks: they need root and mount"
fi
finish

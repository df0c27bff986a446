#!/bin/sh
# Races of settings: exact screens, interrupted and killed races that go on to the same bits, every refusal.
. tests/cli/lib.sh

# 16 training rows, 40 dev rows: a rung takes a moment.
{
  sed -e "s|^output_dir:.*|output_dir: $T/run|; s|^overwrite_output_dir:.*||; s|^compute:.*|compute: f32|" \
    -e "/^val_datasets/,/dev.jsonl/d" configs/demo.yaml
  printf 'val_set_size: 40\nnum_train: 64\nthreads: 1\n'
} >"$T/c.yaml"
rates="learning_rate=1e-5,3e-4,1e-3,100"
tune() {
  out=$1
  shift
  "$ZOFT" tune "$T/c.yaml" -o "$T/$out" "$@"
}
# The seconds of a table.
shown() {
  "$@" >"$T/shown" 2>&1
  status=$?
  perl -pe 's/ +[0-9]+\.[0-9](?=  (winner|rung|diverged|time))/      S.S/' "$T/shown"
  return $status
}

case_ "a race with a candidate that diverges" 0 shown tune a --steps 40 --grid "$rates" <<'END'
rung 1 of 2: 4 candidates to step 20
  learning_rate=1e-5  dev accuracy 52.5 %  loss 0.6980
  learning_rate=3e-4  dev accuracy 55.0 %  loss 0.5376
  learning_rate=1e-3  dev accuracy 100.0 %  loss 0.3068
  learning_rate=100  diverged: step 12: the losses on both sides are equal for 10 steps: nothing is learned; a smaller learning_rate or a larger zo_eps may help
rung 2 of 2: 2 candidates to step 40
  learning_rate=3e-4  dev accuracy 97.5 %  loss 0.4312
  learning_rate=1e-3  dev accuracy 100.0 %  loss 0.1846
candidate           steps  dev accuracy  dev loss           best  seconds  out
──────────────────────────────────────────────────────────────────────────────────────
learning_rate=1e-3     40       100.0 %    0.1846  100.0 % at 40      S.S  winner
learning_rate=3e-4     40        97.5 %    0.4312   97.5 % at 40      S.S  rung 2 of 2
learning_rate=1e-5     20        52.5 %    0.6980   52.5 % at 20      S.S  rung 1 of 2
learning_rate=100      11             -         -              -      S.S  diverged

The winner's config is TMP/a/best.yaml. Next:
  zoft train TMP/a/best.yaml
END
case_ "again: the race is over" 0 shown tune a --steps 40 --grid "$rates" -q <<'END'
candidate           steps  dev accuracy  dev loss           best  seconds  out
──────────────────────────────────────────────────────────────────────────────────────
learning_rate=1e-3     40       100.0 %    0.1846  100.0 % at 40      S.S  winner
learning_rate=3e-4     40        97.5 %    0.4312   97.5 % at 40      S.S  rung 2 of 2
learning_rate=1e-5     20        52.5 %    0.6980   52.5 % at 20      S.S  rung 1 of 2
learning_rate=100      11             -         -              -      S.S  diverged

The winner's config is TMP/a/best.yaml. Next:
  zoft train TMP/a/best.yaml
END
check "the winner's config" grep -qx 'learning_rate: 1e-3' "$T/a/best.yaml"
check "with the max_steps of the config" grep -qx 'max_steps: 1000' "$T/a/best.yaml"
check "runs as it is" "$ZOFT" train "$T/a/best.yaml" max_steps=2 test_datasets=[] -q --json >"$T/json"
check "into the race's directory" test -s "$T/a/best/model.safetensors"

# A candidate's run is that of zoft train: same log, same weights.
check "a run by itself" "$ZOFT" train "$T/a/best.yaml" output_dir="$T/alone" max_steps=40 test_datasets=[] eval_steps=40 \
  load_best_model_at_end=false -q --json >"$T/json"
check "has the weights of the winner" cmp "$T/alone/model.safetensors" "$T/a/runs/03-learning_rate=1e-3/model.safetensors"

report() {
  tune a --steps 40 --grid "$rates" --json 2>"$T/err" >"$T/json" && python3 - "$T" <<'END'
import json, os, sys
got = json.load(open(sys.argv[1] + "/json"))
assert got["metric"] == "accuracy" and got["factor"] == 2 and got["steps"] == [20, 40], got
ends = [(c["settings"]["learning_rate"], c["steps"], c["end"]) for c in got["candidates"]]
assert ends == [("1e-3", 40, "winner"), ("3e-4", 40, "rung 2 of 2"), ("1e-5", 20, "rung 1 of 2"),
                ("100", 11, "diverged")], ends
for c in got["candidates"]:
    run = json.load(open(c["run"] + "/run.json"))
    assert run["step"] == c["steps"], run
    if c["end"] != "diverged":
        assert run["dev_end"]["loss"] == c["loss"] and run["dev_end"]["accuracy"] == c["accuracy"]
assert os.path.samefile(got["config"], sys.argv[1] + "/a/best.yaml")
END
}
check "--json" report

# --- stopped and continued ---
timeless() { sed -E 's/("[a-z_]*seconds": )[0-9.e-]+/\1S/' "$1/tune.json"; }
same() { # same NAME DIR
  timeless "$T/a" >"$T/want.json"
  timeless "$T/$2" >"$T/got.json"
  check "$1: the same race" cmp "$T/want.json" "$T/got.json"
  for run in "$T/a/runs"/*; do
    check "$1: the same log of ${run##*/}" cmp "$run/steps.log" "$T/$2/runs/${run##*/}/steps.log"
  done
  check "$1: the same weights" cmp "$T/a/runs/03-learning_rate=1e-3/model.safetensors" \
    "$T/$2/runs/03-learning_rate=1e-3/model.safetensors"
}
killed() {
  for wait in 2 4 6 8 10; do
    "$ZOFT" tune "$T/c.yaml" -o "$T/killed" --steps 40 --grid "$rates" -q >/dev/null 2>&1 &
    pid=$!
    perl -e "select(undef, undef, undef, $wait / 20)"
    kill -KILL $pid 2>/dev/null
    wait $pid 2>/dev/null
  done
  tune killed --steps 40 --grid "$rates" -q >"$T/out" 2>&1
}
check "killed five times" killed
same "killed" killed

# Stopped in the first rung of a long race, then within its last steps: see that a message names the place.
stopped() {
  "$ZOFT" tune "$T/c.yaml" -o "$T/int" --steps 100000 --grid "$rates" -q >"$T/out" 2>"$T/err" &
  pid=$!
  for _ in $(seq 300); do
    [ -s "$T/int/runs/01-learning_rate=1e-5/metrics.jsonl" ] && break
    perl -e 'select(undef, undef, undef, 0.02)'
  done
  kill -INT $pid
  wait $pid
  [ $? = 130 ] && grep -qE '^zoft: interrupted in rung 1, learning_rate=1e-5 after step [0-9]+: the same command goes on$' "$T/err"
}
check "SIGINT: exit status and message" stopped
check "SIGINT: a checkpoint" sh -c "ls '$T'/int/runs/01*/checkpoints/step-*/model.safetensors >'$T/out'"

# --- a budget of time ---
case_ "no time but for the first rung" 0 shown tune none --budget 0.001 --grid learning_rate=1e-4,1e-3 --grid zo_probes=1,2 <<'END'
rung 1 of 2: 4 candidates to step 1
  learning_rate=1e-4 zo_probes=1  dev accuracy 52.5 %  loss 0.7042
  learning_rate=1e-4 zo_probes=2  dev accuracy 52.5 %  loss 0.7041
  learning_rate=1e-3 zo_probes=1  dev accuracy 52.5 %  loss 0.7021
  learning_rate=1e-3 zo_probes=2  dev accuracy 52.5 %  loss 0.7010
rung 2 of 2: no time is left for a step of 2 candidates
candidate                       steps  dev accuracy  dev loss         best  seconds  out
────────────────────────────────────────────────────────────────────────────────────────────────
learning_rate=1e-3 zo_probes=2      1        52.5 %    0.7010  52.5 % at 1      S.S  winner
learning_rate=1e-3 zo_probes=1      1        52.5 %    0.7021  52.5 % at 1      S.S  time
learning_rate=1e-4 zo_probes=2      1        52.5 %    0.7041  52.5 % at 1      S.S  rung 1 of 2
learning_rate=1e-4 zo_probes=1      1        52.5 %    0.7042  52.5 % at 1      S.S  rung 1 of 2

The winner's config is TMP/none/best.yaml. Next:
  zoft train TMP/none/best.yaml
END
timed() {
  tune timed --budget 6s --grid learning_rate=1e-3,100 --json 2>"$T/err" >"$T/json" && python3 - "$T/json" <<'END'
import json, sys
got = json.load(open(sys.argv[1]))
assert got["candidates"][0]["settings"] == {"learning_rate": "1e-3"}, got
assert got["candidates"][0]["end"] == "winner" and got["candidates"][0]["steps"] == got["steps"][0] >= 1, got
END
}
check "a budget of seconds" timed

case_ "all diverge" 6 shown tune div --steps 40 --grid learning_rate=100,200 -q <<'END'
zoft: every candidate diverged: try smaller learning rates
candidate          steps  dev accuracy  dev loss  best  seconds  out
─────────────────────────────────────────────────────────────────────────
learning_rate=100     11             -         -     -      S.S  diverged
learning_rate=200     11             -         -     -      S.S  diverged
END
# Both rates that win the first rung diverge in the second: those that were out take their places.
case_ "those that go on diverge" 0 shown tune back --steps 40 --grid learning_rate=1e-5,1e-4,5e-3,7e-3 <<'END'
rung 1 of 2: 4 candidates to step 20
  learning_rate=1e-5  dev accuracy 52.5 %  loss 0.6980
  learning_rate=1e-4  dev accuracy 52.5 %  loss 0.6430
  learning_rate=5e-3  dev accuracy 55.0 %  loss 2.9207
  learning_rate=7e-3  dev accuracy 60.0 %  loss 169.7839
rung 2 of 2: 2 candidates to step 40
  learning_rate=5e-3  diverged: step 30: the loss is 10.15, above 2.323 for 10 steps: a smaller learning_rate may help
  learning_rate=7e-3  diverged: step 23: the loss is 242.2, above 2.55 for 10 steps: a smaller learning_rate may help
rung 2 of 2: all diverged: the best of those that were out come back
rung 2 of 2: 2 candidates to step 40
  learning_rate=1e-5  dev accuracy 52.5 %  loss 0.6922
  learning_rate=1e-4  dev accuracy 52.5 %  loss 0.5931
candidate           steps  dev accuracy  dev loss          best  seconds  out
─────────────────────────────────────────────────────────────────────────────────────
learning_rate=1e-4     40        52.5 %    0.5931  52.5 % at 40      S.S  winner
learning_rate=1e-5     40        52.5 %    0.6922  52.5 % at 40      S.S  rung 2 of 2
learning_rate=7e-3     22        60.0 %  169.7839  60.0 % at 20      S.S  diverged
learning_rate=5e-3     29        55.0 %    2.9207  55.0 % at 20      S.S  diverged

The winner's config is TMP/back/best.yaml. Next:
  zoft train TMP/back/best.yaml
END

# --- refusals ---
case_ "no config" 2 "$ZOFT" tune --steps 4 <<'END'
zoft: a config file is needed: zoft tune CONFIG (see 'zoft tune -h')
END
case_ "neither time nor steps" 2 tune b <<'END'
zoft: expected one of --budget TIME and --steps N
END
case_ "both" 2 tune b --steps 4 --budget 4 <<'END'
zoft: expected one of --budget TIME and --steps N
END
case_ "no time" 2 tune b --budget soon <<'END'
zoft: --budget: expected a time such as 90, 10m or 2h, found 'soon'
END
case_ "too few steps" 2 tune b --steps 3 <<'END'
zoft: --steps: 3 steps are too few for 3 rungs: expected 4 or more
END
case_ "an unknown key" 2 tune b --steps 4 --grid learning_rat=1,2 <<'END'
zoft: command line: unknown key 'learning_rat': did you mean 'learning_rate'?
END
case_ "a value of another type" 2 tune b --steps 4 --grid zo_probes=1,x <<'END'
zoft: command line: 'zo_probes' expects a whole number, found 'x'
END
case_ "a key of the race" 2 tune b --steps 4 --grid max_steps=1,2 <<'END'
zoft: --grid max_steps: candidates do not differ in it: the race sets it, or compares them by it
END
case_ "a value twice" 2 tune b --steps 4 --grid seed=1,2,1 <<'END'
zoft: --grid seed: the value '1' stands twice
END
case_ "no value" 2 tune b --steps 4 --grid seed <<'END'
zoft: --grid expects KEY=VALUE,VALUE, found 'seed'
END
case_ "no dev set" 2 tune b --steps 4 val_set_size=0 <<'END'
zoft: candidates are compared on a dev set: set val_datasets or val_set_size
END
case_ "backpropagation" 2 tune b --steps 4 method=adamw <<'END'
zoft: method adamw writes no step log by which a rung could go on: only mezo does
END
check "nothing was written" test ! -e "$T/b"
case_ "another race is there" 2 tune a --steps 80 --grid "$rates" <<'END'
zoft: TMP/a/tune.json is of a race with another config, grid or budget: repeat that command to go on with it, or name another directory with -o
END
mkdir "$T/full"
echo x >"$T/full/notes"
case_ "the directory holds something else" 2 tune full --steps 40 <<'END'
zoft: TMP/full is not empty and holds no tune.json: name another directory
END
echo '{"identity": 3}' >"$T/a/tune.json"
case_ "a damaged state" 3 tune a --steps 40 --grid "$rates" <<'END'
zoft: TMP/a/tune.json: key 'identity': expected a string, found an integer
END
finish

#!/bin/sh
# Prints docs/reference.md: every command's help, every key of a config, as the program states them.
#
#   sh tests/reference.sh build/zoft > docs/reference.md
set -eu
zoft=$1
export LC_ALL=C NO_COLOR=1

commands() { "$zoft" -h | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p'; }

cat <<'END'
# Reference

After this page you know every command, option and key, what a run directory holds, and what an exit status means.
`make docs` writes this page from the program; a test fails when it is not current.

## Exit status

| status | meaning |
|---:|---|
| 0 | success |
| 1 | failure while running: a file cannot be written, memory ran out |
| 2 | wrong usage or config |
| 3 | invalid model, tokenizer, data or log |
| 4 | the forecast exceeds the memory limit |
| 5 | a gate failed (`--fail-under`) |
| 6 | the run diverged: a loss that is no number, or the watchdog |
| 130, 143 | interrupted, after a checkpoint that can be resumed |

## Run directory

| file | content |
|---|---|
| `model.safetensors`, `config.json`, `tokenizer.json` and others | the tuned model, as Transformers loads it |
| `run.json` | versions, CPU, kernels, hashes, seed, status, peak memory, scores |
| `config.yaml` | the resolved settings, runnable again |
| `metrics.jsonl` | one line for every logged step and every score |
| `steps.log` | 60 bytes a step: enough to rebuild the weights of every step |
| `keyframes/` | trained weights now and then (`keyframe_steps`), so that a replay starts near |
| `checkpoints/` | the weights of the best dev score, and those asked for |

## Commands

END
for command in $(commands); do
  printf '### zoft %s\n\n```text\n' "$command"
  "$zoft" "$command" -h | sed 's/[[:space:]]*$//'
  printf '```\n\n'
done
cat <<'END'
## Keys of a config

`[resume]` marks the keys that may change when a run is resumed. `val_datasets` and `test_datasets` take the keys of
`datasets`.

| key | value | default | meaning |
|---|---|---|---|
END
"$zoft" validate --keys | awk '
  /^(val|test)_datasets\.N\./ { next }
  {
    line = $0
    n = split(line, part, /  +/)
    if (n < 4) { print "unreadable line: " line > "/dev/stderr"; exit 1 }
    meaning = part[4]
    for (i = 5; i <= n; i++) meaning = meaning " " part[i]
    for (i = 1; i <= 3; i++) gsub(/\|/, ", ", part[i])
    gsub(/\|/, "\\|", meaning)
    gsub(/</, "\\&lt;", meaning)
    gsub(/\*/, "\\*", meaning)
    gsub(/\*/, "\\*", part[3])
    printf "| `%s` | %s | %s | %s |\n", part[1], part[2], part[3], meaning
  }'

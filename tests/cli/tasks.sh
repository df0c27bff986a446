#!/bin/sh
# Standard tasks on the demo model: tables, JSON, samples, and what is refused.
. tests/cli/lib.sh
M=$DEMO/model
D=tests/golden/tasks/data

case_ "one task" 0 "$ZOFT" eval "$M" --task arc_easy --data $D/arc_easy.jsonl <<'END'
model  datasets/demo/model

task      metric     value  stderr    rows
──────────────────────────────────────────
arc_easy  acc       0.2000  ± 0.2000     5
          acc_norm  0.2000  ± 0.2000     5
END
case_ "two tasks, rows cut" 0 "$ZOFT" eval "$M" --task cb --data $D/cb.jsonl --task boolq --data $D/boolq.jsonl <<'END'
warning: boolq: 2 of 10 texts lose their beginning: the model reads 128 tokens
model  datasets/demo/model

task   metric   value  stderr    rows
─────────────────────────────────────
cb     acc     0.3333  ± 0.2108     6
       f1      0.1667  ± 0.0791     6
boolq  acc     0.6000  ± 0.2449     5
END
case_ "limit, one row has no error" 0 "$ZOFT" eval "$M" --task lambada --data $D/lambada.jsonl --limit 1 <<'END'
model  datasets/demo/model

task     metric           value  stderr  rows
─────────────────────────────────────────────
lambada  perplexity  1.9059e+26  -          1
         acc             0.0000  -          1
END
case_ "examples" 0 "$ZOFT" eval "$M" --task arc_easy --data $D/arc_easy.jsonl --num-fewshot 2 --fewshot-data $D/arc_shots.jsonl <<'END'
model  datasets/demo/model

task      metric     value  stderr    rows
──────────────────────────────────────────
arc_easy  acc       0.2000  ± 0.2000     5
          acc_norm  0.2000  ± 0.2000     5
END
case_ "a GGUF file" 0 "$ZOFT" eval tests/golden/gguf/llama-f16.gguf --task piqa --data $D/piqa.jsonl --limit 2 <<'END'
warning: piqa: 2 of 4 texts lose their beginning: the model reads 64 tokens
model  tests/golden/gguf/llama-f16.gguf

task  metric     value  stderr    rows
──────────────────────────────────────
piqa  acc       0.5000  ± 0.5000     2
      acc_norm  0.5000  ± 0.5000     2
END
"$ZOFT" eval "$M" --task arc_easy --data $D/arc_easy.jsonl --json -q >"$T/one.json"
case_ "json" 0 perl -pe 's/"(value|stderr)": ([0-9.]+)/sprintf "\"$1\": %.4f", $2/ge; s/: [0-9]+}$/: N}/' "$T/one.json" <<'END'
{"model": "datasets/demo/model", "tasks": [{"task": "arc_easy", "version": "1.0", "n": 5, "truncated": 0, "metrics": {"acc": {"value": 0.2000, "stderr": 0.2000}, "acc_norm": {"value": 0.2000, "stderr": 0.2000}}}], "peak_rss_bytes": N}
END
"$ZOFT" eval "$M" --task copa --data $D/copa.jsonl --task wikitext --data $D/wikitext.jsonl --task lambada --data $D/lambada.jsonl -q --log-samples "$T/s.jsonl" >"$T/out"
case_ "samples" 0 perl -pe 's/-[0-9]+\.[0-9]+/sprintf "%.2f", $&/ge' "$T/s.jsonl" <<'END'
{"task": "copa", "line": 1, "loglikelihoods": [-170.63, -121.42], "choice": 1, "choice_norm": 0, "target": 0}
{"task": "copa", "line": 2, "loglikelihoods": [-95.65, -136.91], "choice": 0, "choice_norm": 1, "target": 1}
{"task": "copa", "line": 3, "loglikelihoods": [-181.60, -143.54], "choice": 1, "choice_norm": 0, "target": 0}
{"task": "copa", "line": 4, "loglikelihoods": [-108.00, -149.31], "choice": 0, "choice_norm": 1, "target": 1}
{"task": "wikitext", "line": 1, "loglikelihood": -5763.47, "words": 181, "bytes": 767}
{"task": "wikitext", "line": 2, "loglikelihood": -321.23, "words": 9, "bytes": 34}
{"task": "wikitext", "line": 3, "loglikelihood": -164.82, "words": 5, "bytes": 23}
{"task": "lambada", "line": 1, "loglikelihood": -60.51, "greedy": false}
{"task": "lambada", "line": 2, "loglikelihood": -2.22, "greedy": true}
{"task": "lambada", "line": 3, "loglikelihood": -44.01, "greedy": false}
{"task": "lambada", "line": 4, "loglikelihood": -50.76, "greedy": false}
END

# A recipe of one's own, with keys that the harness has and that mean nothing here.
cat >"$T/mine.yaml" <<'END'
task: mine
dataset_path: somewhere
output_type: multiple_choice
doc_to_text: "{{q}} is"
doc_to_choice: [good, bad]
doc_to_target: label
metric_list:
  - metric: acc
  - metric: acc_mutual_info
  - metric: exact_match
  - metric: brier_score
END
printf 'q,label\nthe lamp,good\nthe soup,bad\nthe boat,good\n' >"$T/mine.csv"
case_ "a recipe of one's own" 0 "$ZOFT" eval "$M" --task "$T/mine.yaml" --data "$T/mine.csv" <<'END'
warning: TMP/mine.yaml: keys without effect here: dataset_path
model  datasets/demo/model

task  metric            value  stderr    rows
─────────────────────────────────────────────
mine  acc              0.3333  ± 0.3333     3
      acc_mutual_info  0.6667  ± 0.3333     3
      exact_match      0.0000  ± 0.0000     3
      brier_score      1.2707  ± 0.6117     3
END
case_ "from any directory" 0 sh -c "ZOFT=\$(realpath $ZOFT) M=\$(realpath $M) D=\$(realpath $D); cd / && \$ZOFT eval \$M --task piqa --data \$D/piqa.jsonl | sed \"s|\$M|MODEL|\"" <<'END'
model  MODEL

task  metric     value  stderr    rows
──────────────────────────────────────
piqa  acc       0.3333  ± 0.3333     3
      acc_norm  0.3333  ± 0.3333     3
END
case_ "gate" 5 "$ZOFT" eval "$M" --task cb --data $D/cb.jsonl --fail-under 50 <<'END'
zoft: cb acc 33.3 % is below --fail-under 50
model  datasets/demo/model

task  metric   value  stderr    rows
────────────────────────────────────
cb    acc     0.3333  ± 0.2108     6
      f1      0.1667  ± 0.0791     6
END
case_ "gate without acc" 2 "$ZOFT" eval "$M" --task cola --data $D/cola.jsonl --fail-under 50 -q <<'END'
zoft: --fail-under: task 'cola' has no metric acc
END
check "list of tasks" sh -c "$ZOFT eval --list-tasks | grep -q '^winogrande  *multiple_choice  *acc  *sentence, option1, option2, answer$'"
check "list as JSON" sh -c "$ZOFT eval --list-tasks --json | grep -q '{\"task\": \"sst2\", \"output_type\": \"multiple_choice\", \"metrics\": \\[\"acc\"\\], \"fields\": \\[\"sentence\", \"label\"\\]}'"

# --- refused ---
case_ "unknown task" 2 "$ZOFT" eval "$M" --task helaswag --data $D/cb.jsonl <<'END'
zoft: there is no task 'helaswag': did you mean 'hellaswag'?
END
case_ "no file for a task" 2 "$ZOFT" eval "$M" --task cb <<'END'
zoft: expected a --data FILE for each --task: 1 tasks, 0 files
END
case_ "a row without a field" 3 "$ZOFT" eval "$M" --task sst2 --data $D/cb.jsonl <<'END'
zoft: tests/golden/tasks/data/cb.jsonl:1: field 'sentence' is missing
END
printf '{"sentence": "a", "label": 1}\n\n{"sentence": "b", "label": 2}\n' >"$T/range.jsonl"
case_ "a target out of range" 3 "$ZOFT" eval "$M" --task sst2 --data "$T/range.jsonl" <<'END'
zoft: TMP/range.jsonl:3: the target 2 is out of range: there are 2 choices (0 to 1)
END
: >"$T/empty.jsonl"
case_ "no rows" 3 "$ZOFT" eval "$M" --task sst2 --data "$T/empty.jsonl" <<'END'
zoft: TMP/empty.jsonl has no rows
END
printf 'task: t\noutput_type: multiple_choice\ndoc_to_txt: x\n' >"$T/bad.yaml"
case_ "unknown key" 2 "$ZOFT" eval "$M" --task "$T/bad.yaml" --data $D/cb.jsonl <<'END'
zoft: TMP/bad.yaml:3:1: unknown key 'doc_to_txt': did you mean 'doc_to_text'?
END
printf 'task: t\noutput_type: loglikelihood\ndoc_to_target: "{{ x"\n' >"$T/bad.yaml"
case_ "a template without end" 2 "$ZOFT" eval "$M" --task "$T/bad.yaml" --data $D/cb.jsonl <<'END'
zoft: TMP/bad.yaml:3:16: doc_to_target:1: the tag has no '}}'
END
printf 'task: t\noutput_type: loglikelihood\ndoc_to_target: "{{premise}}"\nmetric_list:\n  - metric: perplxity\n' >"$T/bad.yaml"
case_ "unknown metric" 2 "$ZOFT" eval "$M" --task "$T/bad.yaml" --data $D/cb.jsonl <<'END'
zoft: task 't': unknown metric 'perplxity': did you mean 'perplexity'?
END
case_ "examples from nowhere" 2 "$ZOFT" eval "$M" --task cb --data $D/cb.jsonl --num-fewshot 2 <<'END'
zoft: task 'cb': 2 examples are wanted: --fewshot-data names their file
END
case_ "too few examples" 2 "$ZOFT" eval "$M" --task arc_easy --data $D/arc_easy.jsonl --num-fewshot 9 --fewshot-data $D/arc_shots.jsonl <<'END'
zoft: tests/golden/tasks/data/arc_shots.jsonl has 3 rows, 9 examples are wanted
END
case_ "longer than the context" 2 "$ZOFT" eval "$M" --task cb --data $D/cb.jsonl --max-length 999 <<'END'
zoft: --max-length expects 1 to 128, the model's context
END
case_ "no rows wanted" 2 "$ZOFT" eval "$M" --task cb --data $D/cb.jsonl --limit 0 <<'END'
zoft: --limit expects a whole number from 1 on, found '0'
END
case_ "an option of tasks without one" 2 "$ZOFT" eval configs/demo.yaml --limit 3 <<'END'
zoft: --limit is for --task
END
cp -r tests/golden/families/llama-classify "$T/c" && cp $M/tokenizer* "$T/c"
case_ "a model with a head of labels" 2 "$ZOFT" eval "$T/c" --task cb --data $D/cb.jsonl <<'END'
zoft: TMP/c: the model has a head of labels: only a causal language model continues a text
END
finish

#!/usr/bin/env python3
"""Compares `zoft eval --task` with lm-evaluation-harness on the same rows and models.

    compare_lm_eval.py ZOFT MODEL... [--datasets DIR] [--rows N] [--shots N] [--golden FILE]
                       [--tokenizer-json]

The rows are those of tests/golden/tasks/data and, with --datasets, the first N dev rows of sst2, boolq,
copa, rte and cb in DIR.  The harness runs its own recipes: each is included from the installed package,
and only where its rows come from is replaced.  For every row the log-likelihoods are compared, for
every task the metrics and, of means, the standard errors.  --golden writes the harness's numbers for
the first model as JSON, which tests/unit/test_tasks.c reads.

--tokenizer-json gives the harness the tokenizer.json as it stands: transformers 5 rebuilds some
tokenizers (llama) from their vocabulary and loses what else the file says, unknown characters for one.
The harness cannot run models whose tokenizer names neither BOS nor EOS.

Needs lm_eval 0.4.13 with torch, transformers, datasets and scikit-learn; goes nowhere near a network.
"""
import argparse
import json
import math
import os
import subprocess
import sys
import tempfile

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false",
                  DISABLE_MULTIPROC="1")
import lm_eval
import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers import PreTrainedTokenizerFast

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(HERE, "tasks", "data")
RECIPES = {  # our task: the harness's file
    "sst2": "glue/sst2/default.yaml", "boolq": "super_glue/boolq/default.yaml",
    "cb": "super_glue/cb/default.yaml", "copa": "super_glue/copa/default.yaml",
    "sglue_rte": "super_glue/rte/default.yaml", "arc_easy": "arc/arc_easy.yaml",
    "hellaswag": "hellaswag/hellaswag.yaml", "winogrande": "winogrande/default.yaml",
    "lambada": "lambada/lambada_openai.yaml", "wikitext": "wikitext/wikitext.yaml",
    "cola": "glue/cola/default.yaml", "mrpc": "glue/mrpc/default.yaml",
    "mnli": "glue/mnli/default.yaml", "piqa": "piqa/piqa.yaml", "sciq": "sciq/sciq.yaml",
    "openbookqa": "openbookqa/openbookqa.yaml"}
FILES = {"sst2": "sst2", "boolq": "boolq", "copa": "copa", "cb": "cb", "sglue_rte": "rte"}
MEANS = {"acc", "acc_norm"}


def rows_of(args, tmp):
    """(label, task, file, few-shot file or None) of everything that is compared."""
    out = [("small " + t, t, os.path.join(DATA, t + ".jsonl"), None) for t in RECIPES]
    out.append(("small arc_easy 2-shot", "arc_easy", os.path.join(DATA, "arc_easy.jsonl"),
                os.path.join(DATA, "arc_shots.jsonl")))
    for task, name in FILES.items() if args.datasets else ():
        path = os.path.join(tmp, name + ".jsonl")
        with open(os.path.join(args.datasets, name, "dev.jsonl")) as f, open(path, "w") as g:
            for _, line in zip(range(args.rows), f):
                row = json.loads(line)
                if task == "sst2":
                    row["sentence"] = row.pop("text")
                g.write(json.dumps(row) + "\n")
        out.append((name, task, path, None))
    return out


def tokenizer_of(model):
    """tokenizer.json as it stands, with the names of its special tokens."""
    with open(os.path.join(model, "tokenizer_config.json")) as f:
        config = json.load(f)
    named = {k: v if isinstance(v, str) else v["content"] for k, v in config.items()
             if k in ("bos_token", "eos_token", "unk_token") and v}
    return PreTrainedTokenizerFast(tokenizer_file=os.path.join(model, "tokenizer.json"), **named)


def harness(model, sets, tmp, shots, plain):
    """The harness's results: for each set the metrics, and each row's log-likelihoods."""
    base = os.path.join(os.path.dirname(lm_eval.__file__), "tasks")
    names = []
    for k, (_, task, path, shot) in enumerate(sets):
        name = f"z{k}_{task}"
        files = {"validation": path, **({"train": shot} if shot else {})}
        text = {"include": os.path.join(base, RECIPES[task]), "task": name, "dataset_path": "json",
                "dataset_name": None, "dataset_kwargs": {"data_files": files}, "test_split": None,
                "validation_split": "validation", "training_split": "train" if shot else None, "tag": []}
        if shot:
            text.update(fewshot_split="train", num_fewshot=shots, fewshot_config={"sampler": "first_n"})
        with open(os.path.join(tmp, name + ".yaml"), "w") as f:
            json.dump(text, f)  # JSON is YAML
        names.append(name)
    lm = HFLM(pretrained=model, device="cpu", dtype="float32", batch_size=1,
              tokenizer=tokenizer_of(model) if plain else None)
    got = lm_eval.simple_evaluate(model=lm, tasks=names, log_samples=True, bootstrap_iters=100,
                                  task_manager=TaskManager(include_path=tmp, include_defaults=False))
    out = []
    for name in names:
        values = {}
        for key, v in got["results"][name].items():
            metric, _, rest = key.partition(",")
            if rest and not metric.endswith("_stderr"):
                err = got["results"][name].get(metric + "_stderr," + rest, "N/A")
                values[metric] = [v, err if isinstance(err, float) else None]
        samples = sorted(got["samples"][name], key=lambda s: s["doc_id"])
        lls = [[r[0] if isinstance(r, (list, tuple)) else r
                for r in (x[0] if isinstance(x, list) and len(x) == 1 else x for x in s["resps"])]
               for s in samples]
        out.append((values, lls, lm.max_length))
    return out


def zoft(program, model, sets, tmp, shots):
    out = []
    for _, task, path, shot in sets:
        log = os.path.join(tmp, "samples.jsonl")
        words = [program, "eval", model, "--task", task, "--data", path, "--json", "-q", "--log-samples", log]
        if shot:
            words += ["--fewshot-data", shot, "--num-fewshot", str(shots)]
        got = subprocess.run(words, capture_output=True, text=True)
        if got.returncode:
            sys.exit(f"{' '.join(words)}: exit {got.returncode}\n{got.stderr}")
        values = {m: [v["value"], v["stderr"]] for m, v in json.loads(got.stdout)["tasks"][0]["metrics"].items()}
        with open(log) as f:
            rows = [json.loads(line) for line in f]
        out.append((values, [r.get("loglikelihoods", [r.get("loglikelihood")]) for r in rows]))
    return out


def compare(label, a, b):
    """Worst differences; True when all are within bounds."""
    (want, want_ll, _), (got, got_ll) = a, b
    ll = max((abs(x - y) / max(1, abs(x) / 100) for r, s in zip(want_ll, got_ll) for x, y in zip(r, s)), default=0)
    shape = [len(r) for r in want_ll] == [len(r) for r in got_ll]
    value = max(abs(v[0] - got[m][0]) / max(1, abs(v[0])) for m, v in want.items() if m in got)
    err = max((abs(v[1] - got[m][1]) for m, v in want.items()
               if m in MEANS and v[1] is not None), default=0)
    same = shape and set(got) == set(want) - {"alias"} and ll < 1e-3 and value < 1e-4 and err < 1e-4
    rows = len(want_ll)
    print(f"  {'ok  ' if same else 'FAIL'} {label:24} {rows:5} rows  |ll| {ll:.1e}  metrics {value:.1e}"
          f"  stderr {err:.1e}  " + "  ".join(f"{m} {v[0]:.4f}" for m, v in got.items()))
    if not same:
        print("    harness", want, "\n    zoft   ", got)
        for i, (r, s) in enumerate(zip(want_ll, got_ll)):
            if len(r) != len(s) or any(abs(x - y) > 1e-3 * max(1, abs(x) / 100) for x, y in zip(r, s)):
                print(f"    row {i + 1}: {r} {s}")
                break
    return same


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("zoft")
    p.add_argument("model", nargs="+")
    p.add_argument("--datasets")
    p.add_argument("--rows", type=int, default=50)
    p.add_argument("--shots", type=int, default=2)
    p.add_argument("--golden")
    p.add_argument("--tokenizer-json", action="store_true")
    args = p.parse_args()
    torch.set_num_threads(1)
    good = total = 0
    for k, model in enumerate(args.model):
        with tempfile.TemporaryDirectory() as tmp:
            sets = rows_of(args, tmp)
            want = harness(model, sets, tmp, args.shots, args.tokenizer_json)
            got = zoft(args.zoft, model, sets, tmp, args.shots)
            print(model)
            for s, a, b in zip(sets, want, got):
                good += compare(s[0], a, b)
                total += 1
            if args.golden and k == 0:
                write_golden(args.golden, sets, want, args.shots)
    print(f"{good} of {total} agree (lm_eval {lm_eval.__version__})")
    sys.exit(good != total)


def write_golden(path, sets, want, shots):
    rows = []
    for (label, task, file, shot), (values, lls, _) in zip(sets, want):
        if not label.startswith("small"):
            continue
        metrics = {m: v for m, v in values.items() if m != "alias"}
        # the standard errors of means alone: the others are bootstrapped there
        metrics = {m: [v[0], v[1] if m in MEANS else None] for m, v in metrics.items()}
        rows.append(json.dumps({"task": task, "data": os.path.basename(file),
                                "shots": [os.path.basename(shot), shots] if shot else None,
                                "metrics": metrics,
                                "ll": [[round(x, 6) for x in r] for r in lls]}))
    with open(path, "w") as f:
        f.write('{"lm_eval": "%s", "model": "datasets/demo/model", "tasks": [\n%s\n]}\n'
                % (lm_eval.__version__, ",\n".join(rows)))


if __name__ == "__main__":
    main()

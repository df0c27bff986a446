"""Zeroth-order methods side by side: dev scores against forward passes, on the same data.

  python3 tests/bench/methods.py --model DIR --data DIR --tasks sst2,trec --methods mezo,lozo,probe \
      --seeds 1,2,3 --budget 2000 --out build/methods.json

Each run is `zoft train configs/TASK.yaml` with a budget of forward passes of a batch of 16: a one-sided
loss counts 1, both sides 2, a step of backpropagation 3.  The rate of every zeroth-order method is
`learning_rate: auto`, or its multiples by --rates, of which the one with the best dev loss is kept.  A run
that the results hold already is not repeated.
"""
import argparse
import json
import os
import subprocess
import sys

# Settings of a method, and the forward passes of a step with q probes.
ADAPTER = "adapter=lora lora_target_modules=all-linear init_lora_weights=eva".split()
METHODS = {
    "mezo": ([], lambda q: 2 * q, 1),
    "momentum": (["zo_method=mezo_momentum"], lambda q: 2 * q, 1),
    "adam": (["zo_method=mezo_adam"], lambda q: 2 * q, 1),
    "sign": (["zo_method=sign"], lambda q: 2 * q, 1),
    "conservative": (["zo_method=conservative"], lambda q: 2 * q + 3, 1),
    "one_sided": (["zo_method=one_sided"], lambda q: 1 + q, 1),
    "fzoo": (["zo_method=fzoo", "zo_probes=8"], lambda q: 1 + q, 8),
    "spsa15": (["zo_method=spsa15", "zo_probes=4"], lambda q: 1 + 2 * q, 4),
    "hizoo": (["zo_method=hizoo"], lambda q: 1 + 2 * q, 1),
    "bszo": (["zo_method=bszo", "zo_probes=2"], lambda q: 2 + q, 2),
    "svrg": (["zo_method=svrg"], lambda q: (2 * 16 + 3 * 4) / 4 * q, 1),
    "es": (["zo_method=es", "zo_probes=8"], lambda q: 2 * q, 8),
    "eggroll": (["zo_method=eggroll", "zo_probes=8"], lambda q: 2 * q, 8),
    "lozo": (["zo_method=lozo"], lambda q: 2 * q, 1),
    "lozo_momentum": (["zo_method=lozo_momentum"], lambda q: 2 * q, 1),
    "lozo_adam": (["zo_method=lozo", "zo_optimizer=adam", "zo_rank=4"], lambda q: 2 * q, 1),
    "subzero": (["zo_method=subzero"], lambda q: 2 * q, 1),
    "muon": (["zo_method=muon"], lambda q: 2 * q, 1),
    "sparse": (["zo_method=sparse"], lambda q: 2 * q, 1),
    "random_mask": (["zo_method=random_mask"], lambda q: 2 * q, 1),
    "blocks": (["zo_method=blocks"], lambda q: 2 * q, 1),
    "sphere": (["zo_method=sphere"], lambda q: 2 * q, 1),
    "conmezo": (["zo_method=conmezo"], lambda q: 2 * q, 1),
    "eva": (ADAPTER + ["lora_r=4"], lambda q: 2 * q, 1),
    "eva_adam": (ADAPTER + ["lora_r=4", "zo_optimizer=adam"], lambda q: 2 * q, 1),
    "eva_muon": (ADAPTER + ["lora_r=4", "zo_optimizer=muon"], lambda q: 2 * q, 1),
    "probe": (["method=probe"], None, 1),
    "adamw": (["method=adamw", "compute=f32"], lambda q: 3, 1),  # name its rates by --rates
}


def configured(task, args, settings, out):
    return [args.zoft, "train", os.path.join(args.configs, task + ".yaml"),
            "base_model=" + args.model, "data_dir=" + args.data, "output_dir=" + out,
            "test_datasets=[]", "overwrite_output_dir=true", "eval_on_start=true",
            "load_best_model_at_end=false", "save_total_limit=1", "threads=1",
            "sequence_len=%d" % args.length, "-q"] + settings


def scores_of(out, passes, base):
    """[[forward passes, loss, accuracy, seconds]] of the dev scores."""
    scores = []
    with open(os.path.join(out, "metrics.jsonl")) as lines:
        for line in lines:
            record = json.loads(line)
            if record["set"] == "dev":
                scores.append([base + record["step"] * passes, record["loss"],
                               record.get("accuracy"), record["seconds"]])
    return scores


def run(task, name, seed, rate, args):
    settings, passes_of, probes = METHODS[name.replace("probe+", "")]
    out = os.path.join(args.work, "run")
    model, base = args.model, 0
    extra = ["seed=%d" % seed, "split_seed=42"]
    if name.startswith("probe+"):
        start = os.path.join(args.work, "start")
        subprocess.run(configured(task, args, ["method=probe"] + extra, start), capture_output=True)
        with open(os.path.join(start, "run.json")) as file:
            base = json.load(file)["steps"]
        model = start
    if passes_of is None:
        command = configured(task, args, settings + extra, out)
        passes, steps = 1, None
    else:
        passes = passes_of(probes)
        steps = max(1, int((args.budget - base) / passes))
        command = configured(task, args, settings + extra + [
            "learning_rate=" + str(rate), "max_steps=%d" % steps,
            "eval_steps=%d" % max(1, steps // args.scores)], out)
    command = ["base_model=" + model if word.startswith("base_model=") else word for word in command]
    result = subprocess.run(command, capture_output=True, text=True)
    with open(os.path.join(out, "run.json")) as file:
        about = json.load(file)
    return {"task": task, "method": name, "seed": seed, "rate": rate, "status": result.returncode,
            "message": result.stderr.strip().split("\n")[-1][:200] if result.returncode else "",
            "peak": about.get("peak_rss_bytes"), "scores": scores_of(out, passes, base)}


def reached(scores, loss):
    """Forward passes up to the first score at or below a loss; None: never."""
    return next((round(point[0]) for point in scores if point[1] <= loss), None)


def table(results):
    """Markdown: for each task and method the mean over seeds of the best dev scores."""
    for task in dict.fromkeys(r["task"] for r in results):
        runs = [r for r in results if r["task"] == task and r["scores"]]
        goal = {r["seed"]: min(s[1] for s in r["scores"]) for r in runs if r["method"] == "mezo"}
        print("| %s | seeds | best dev loss | best accuracy | passes to it | passes to MeZO's best | "
              "peak | seconds |\n|---|---:|---:|---:|---:|---|---:|---:|" % task)
        for name in dict.fromkeys(r["method"] for r in runs):
            best = {}
            for r in runs:
                loss = min(s[1] for s in r["scores"])
                if r["method"] == name and (r["seed"] not in best or loss < best[r["seed"]][0]):
                    best[r["seed"]] = (loss, r)
            count = len(best)
            at = [next(s[0] for s in r["scores"] if s[1] == loss) for loss, r in best.values()]
            passes = [reached(r["scores"], goal[seed]) if seed in goal else None
                      for seed, (_, r) in sorted(best.items())]
            print("| %s | %d | %.4f | %.1f %% | %d | %s | %.0f MB | %.0f |" % (
                name, count, sum(b[0] for b in best.values()) / count,
                100 * sum(max(s[2] or 0 for s in r["scores"]) for _, r in best.values()) / count,
                sum(at) / count, ", ".join("never" if p is None else str(p) for p in passes),
                max((r["peak"] or 0) for _, r in best.values()) / 1e6,
                sum(r["scores"][-1][3] for _, r in best.values()) / count))
        print()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--zoft", default="build/zoft")
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--configs", default="configs")
    parser.add_argument("--tasks", default="sst2")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--rates", default="auto")
    parser.add_argument("--budget", type=int, default=2000)
    parser.add_argument("--scores", type=int, default=10)
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--work", default="build/methods")
    parser.add_argument("--out", default="build/methods.json")
    parser.add_argument("--table", help="print the tables of a file of results, and end")
    args = parser.parse_args()
    if args.table:
        table(json.load(open(args.table)))
        return
    os.makedirs(args.work, exist_ok=True)
    results = json.load(open(args.out)) if os.path.exists(args.out) else []
    known = {(r["task"], r["method"], r["seed"], r["rate"]) for r in results}
    for task in args.tasks.split(","):
        for seed in map(int, args.seeds.split(",")):
            for name in args.methods.split(","):
                for rate in args.rates.split(","):
                    if (task, name, seed, rate) in known:
                        continue
                    results.append(run(task, name, seed, rate, args))
                    with open(args.out + ".new", "w") as file:
                        json.dump(results, file)
                    os.replace(args.out + ".new", args.out)
                    last = results[-1]
                    best = min((s[1], s[0]) for s in last["scores"]) if last["scores"] else None
                    top = max((s[2] or 0) for s in last["scores"]) if last["scores"] else None
                    print(task, name, seed, rate, last["status"], "best loss, at", best, "accuracy",
                          top, last["message"], flush=True)


if __name__ == "__main__":
    sys.exit(main())

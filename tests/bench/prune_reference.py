"""Wanda and SparseGPT in plain PyTorch, as their papers state them, beside zoft's on the same model.

  python3 tests/bench/prune_reference.py ZOFT MODEL --text CALIBRATION --check TEXT [--windows 16]

MODEL is a llama directory.  Both see the same windows of token ids, layer after layer; a layer sees the outputs of
the pruned layers before it.  SparseGPT: blocks of 128 columns, 1 % of the mean diagonal added (Frantar, Alistarh
2023, algorithm 1); Wanda: |W| times the norm of the input, compared within a row (Sun et al. 2023, equation 1).
Perplexity is that of `zoft compare`.  Prints a table in Markdown.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

torch.set_num_threads(1)


def windows_of(tokenizer, path, length, count):
    with open(path, encoding="utf-8") as file:
        ids = tokenizer(file.read(), return_tensors="pt").input_ids[0]
    bos = tokenizer("").input_ids
    rows = [ids[i * length:(i + 1) * length].clone() for i in range(min(count, len(ids) // length))]
    for row in rows:
        if bos:
            row[0] = bos[0]
    return rows


def mask_of(score, pattern):
    """True where a value goes: half of each row, or all but n of each m neighbours."""
    if pattern:
        keep, of = pattern
        groups = score.reshape(score.shape[0], -1, of)
        order = groups.argsort(dim=2, stable=True)
        mask = torch.zeros_like(groups, dtype=torch.bool).scatter_(2, order[:, :, : of - keep], True)
        return mask.reshape(score.shape)
    order = score.argsort(dim=1, stable=True)
    return torch.zeros_like(score, dtype=torch.bool).scatter_(1, order[:, : score.shape[1] // 2], True)


def wanda(weight, moments, pattern):
    mask = mask_of(weight.abs() * moments.diag().sqrt(), pattern)
    weight[mask] = 0


def sparsegpt(weight, moments, pattern, block=128):
    columns = weight.shape[1]
    moments = moments + 0.01 * moments.diag().mean() * torch.eye(columns)
    upper = torch.linalg.cholesky(torch.linalg.inv(moments), upper=True)
    for first in range(0, columns, block):
        last = min(first + block, columns)
        part, errors = weight[:, first:last].clone(), torch.zeros(weight.shape[0], last - first)
        factor = upper[first:last, first:last]
        mask = mask_of(part ** 2 / factor.diag() ** 2, pattern)
        for i in range(last - first):
            new = part[:, i].clone()
            new[mask[:, i]] = 0
            error = (part[:, i] - new) / factor[i, i]
            part[:, i:] -= error[:, None] * factor[i, i:]
            part[:, i] = new
            errors[:, i] = error
        weight[:, first:last] = part
        weight[:, last:] -= errors @ upper[first:last, last:]


def prune(model, rows, method, pattern):
    states = []

    class Stop(Exception):
        pass

    def catch(module, args, kwargs):
        states.append((args[0] if args else kwargs["hidden_states"], kwargs))
        raise Stop

    hook = model.model.layers[0].register_forward_pre_hook(catch, with_kwargs=True)
    for row in rows:
        try:
            model(row[None], use_cache=False)
        except Stop:
            pass
    hook.remove()
    hidden = [state for state, _ in states]
    for layer in model.model.layers:
        moments, hooks = {}, []
        for name, module in layer.named_modules():
            if isinstance(module, torch.nn.Linear):
                def add(_, args, name=name):
                    x = args[0].reshape(-1, args[0].shape[-1])
                    moments[name] = moments.get(name, 0) + x.T @ x
                hooks.append(module.register_forward_pre_hook(add))

        def run():
            out = []
            for x, (_, kwargs) in zip(hidden, states):
                kwargs = {key: value for key, value in kwargs.items() if key != "hidden_states"}
                result = layer(x, **kwargs)
                out.append(result[0] if isinstance(result, tuple) else result)
            return out

        run()
        for hook in hooks:
            hook.remove()
        for name, module in layer.named_modules():
            if name in moments:
                method(module.weight.data, moments[name], pattern)
        hidden = run()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("zoft")
    parser.add_argument("model")
    parser.add_argument("--text", required=True)
    parser.add_argument("--check", required=True)
    parser.add_argument("--windows", default="16")
    parser.add_argument("--length", type=int, default=256)
    args = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    rows = windows_of(tokenizer, args.text, args.length, int(args.windows))
    print(f"torch {torch.__version__}, transformers {transformers.__version__}; {args.model}\n")
    print("| method | pattern | perplexity, PyTorch | zoft | ratio |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        def perplexity(path):
            done = subprocess.run([args.zoft, "compare", args.model, path, "--text", args.check, "--window",
                                   str(args.length), "--windows", "16", "--json"], capture_output=True, text=True)
            if done.returncode:
                sys.exit(done.stderr)
            return json.loads(done.stdout)["perplexity"]

        for name, method in (("wanda", wanda), ("sparsegpt", sparsegpt)):
            for pattern in (None, (2, 4)):
                model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32)
                prune(model, rows, method, pattern)
                kind = f"{name}-{bool(pattern)}"
                theirs, ours = os.path.join(folder, "t" + kind), os.path.join(folder, "z" + kind)
                model.save_pretrained(theirs)
                tokenizer.save_pretrained(theirs)
                words = ["--pattern", "2:4"] if pattern else ["--sparsity", "0.5"]
                done = subprocess.run([args.zoft, "prune", args.model, ours, "--method", name, "--text", args.text,
                                       "--window", str(args.length), "--windows", args.windows, "--check", "none",
                                       "-q", *words], capture_output=True, text=True)
                if done.returncode:
                    sys.exit(done.stderr)
                a, b = perplexity(theirs), perplexity(ours)
                print(f"| {name} | {'2:4' if pattern else '50 %'} | {a:.3f} | {b:.3f} | {b / a:.4f} |", flush=True)


main()

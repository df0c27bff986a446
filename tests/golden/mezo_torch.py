"""MeZO in PyTorch, in place, the plain way: what zoft's learning is compared with.

    python tests/golden/mezo_torch.py --model DIR --task classification \\
        --train train.jsonl --prompt '{text} It was' --option ' terrible' --option ' great' \\
        --num-train 1000 --num-dev 500 --steps 800 --lr 1e-4 --eps 1e-3 --seed 0 --seed 1
    python tests/golden/mezo_torch.py --model DIR --task text --train train.jsonl \\
        --dev val.jsonl --replace '\\n\\n=\\n' --sequence-len 128 --steps 500 --lr 1e-4

A step is that of Malladi et al. 2023, algorithm 1: w += eps z, loss, w -= 2 eps z, loss,
w += eps z, then w -= lr g z, each z drawn again from the step's seed.  The directions are not
zoft's: curves agree as those of two seeds do, not step by step.

classification  cross-entropy of the softmax over the options' mean log-probabilities
text            -log p of every token but the first, mean over the targets of the batch

Prints JSON lines: one "start" a seed, "train" every --log-every steps, "dev" every
--eval-every, a "test" at the end if --test is given.  Reads llama directories (config.json,
model.safetensors, tokenizer.json) with a forward pass of its own in f32.
"""
import argparse
import json
import pathlib
import random
import sys
import time

import tokenizers
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer


class Llama:
    """A llama model as a dict of f32 tensors and a forward pass over right-padded batches."""

    def __init__(self, path):
        path = pathlib.Path(path)
        c = json.loads((path / "config.json").read_text())
        self.w = {k: v.float() for k, v in sorted(load_file(path / "model.safetensors").items())}
        self.layers = c["num_hidden_layers"]
        self.heads = c["num_attention_heads"]
        self.kv = c.get("num_key_value_heads") or self.heads
        self.dim = c.get("head_dim") or c["hidden_size"] // self.heads
        self.eps = c["rms_norm_eps"]
        self.context = c["max_position_embeddings"]
        self.eos = c.get("eos_token_id")
        self.tied = c.get("tie_word_embeddings", False)
        if self.tied:
            self.w.pop("lm_head.weight", None)
        theta = c.get("rope_theta") or c["rope_parameters"]["rope_theta"]
        inv = theta ** (-torch.arange(0, self.dim, 2).float() / self.dim)
        at = torch.arange(self.context).float()[:, None] * inv[None]
        self.cos, self.sin = torch.cat([at, at], 1).cos(), torch.cat([at, at], 1).sin()

    def rope(self, x):
        n, half = x.shape[2], self.dim // 2
        turned = torch.cat([-x[..., half:], x[..., :half]], -1)
        return x * self.cos[:n] + turned * self.sin[:n]

    def attention(self, x, p):
        b, n, _ = x.shape
        q, k, v = (F.linear(x, self.w[p + f"self_attn.{s}_proj.weight"])
                   .view(b, n, h, self.dim).transpose(1, 2)
                   for s, h in (("q", self.heads), ("k", self.kv), ("v", self.kv)))
        y = F.scaled_dot_product_attention(self.rope(q), self.rope(k), v, is_causal=True,
                                           enable_gqa=self.kv != self.heads)
        y = y.transpose(1, 2).reshape(b, n, self.heads * self.dim)
        return F.linear(y, self.w[p + "self_attn.o_proj.weight"])

    def norm(self, x, name):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.w[name]

    def hidden(self, ids):
        """ids [B,T] -> final hidden states [B,T,C]; a token does not see what is right of it."""
        x = self.w["model.embed_tokens.weight"][ids]
        for i in range(self.layers):
            p = f"model.layers.{i}."
            x = x + self.attention(self.norm(x, p + "input_layernorm.weight"), p)
            h = self.norm(x, p + "post_attention_layernorm.weight")
            gate = F.silu(F.linear(h, self.w[p + "mlp.gate_proj.weight"]))
            up = F.linear(h, self.w[p + "mlp.up_proj.weight"])
            x = x + F.linear(gate * up, self.w[p + "mlp.down_proj.weight"])
        return self.norm(x, "model.norm.weight")

    def logits(self, h):
        name = "model.embed_tokens.weight" if self.tied else "lm_head.weight"
        return F.linear(h, self.w[name])


# --- data: an example is (sequences of ids, first target of each, label or None) ---


def read_rows(path, replace):
    rows = [json.loads(line) for line in open(path, encoding="utf-8")]
    for r in rows:
        for k, v in r.items():
            for a, b in replace if isinstance(v, str) else ():
                v = v.replace(a, b)
            r[k] = v
    return rows


def classification(row, tok, a, limit, eos):
    prompt = a.prompt.format(**row)
    n = len(tok.encode(prompt).ids)
    seqs = [tok.encode(prompt + o.format(**row)).ids for o in a.option]
    cut = max(0, max(map(len, seqs)) - limit)  # the first token stays: it may be a BOS
    seqs = [s[:1] + s[1 + cut:] for s in seqs]
    return [(seqs, n - cut, row["label"])]


def text(row, tok, a, limit, eos):
    ids = tok.encode(row["text"]).ids + ([eos] if a.add_eos else [])
    pieces = [ids[i:i + limit] for i in range(0, len(ids), limit)]
    return [([p], 1, None) for p in (pieces if a.split else pieces[:1]) if len(p) > 1]


def encode(rows, tok, a, model):
    limit = a.sequence_len or model.context
    make = classification if a.task == "classification" else text
    return [x for r in rows for x in make(r, tok, a, limit, model.eos)]


# --- loss ---


def padded(seqs):
    ids = torch.zeros(len(seqs), max(map(len, seqs)), dtype=torch.long)
    for i, s in enumerate(seqs):
        ids[i, :len(s)] = torch.tensor(s)
    return ids


def target_logprobs(model, seqs, target):
    """-> log p of the targets of all sequences end to end, whether each is the argmax, counts."""
    h = model.hidden(padded([s[:-1] for s in seqs]))
    rows = [(i, t - 1) for i, s in enumerate(seqs) for t in range(target[i], len(s))]
    want = torch.tensor([seqs[i][t + 1] for i, t in rows])
    i, t = torch.tensor(rows).T
    logp = model.logits(h[i, t]).log_softmax(-1)
    got = logp.gather(1, want[:, None])[:, 0]
    return got, logp.argmax(-1) == want, [len(s) - f for s, f in zip(seqs, target)]


def single(batch):
    """Every option is one token behind the same prompt: one pass serves all options."""
    return all(len(s) == first + 1 and s[:-1] == seqs[0][:-1] for seqs, first, _ in batch
               for s in seqs)


def option_scores(model, batch):
    """-> [B,options] mean log-probability, up to what is the same for all options."""
    if single(batch):
        h = model.hidden(padded([seqs[0][:-1] for seqs, _, _ in batch]))
        h = h[torch.arange(len(batch)), torch.tensor([first - 1 for _, first, _ in batch])]
        ids = torch.tensor([[s[-1] for s in seqs] for seqs, _, _ in batch])
        return model.logits(h).gather(1, ids)
    seqs = [s for x in batch for s in x[0]]
    got, _, n = target_logprobs(model, seqs, [x[1] for x in batch for _ in x[0]])
    return torch.stack([g.mean() for g in got.split(n)]).view(len(batch), -1)


def score(model, batch):
    """-> sum of losses, sum of weights, right answers."""
    if batch[0][2] is None:
        got, right, n = target_logprobs(model, [x[0][0] for x in batch], [x[1] for x in batch])
        return -got.double().sum(), sum(n), right.sum()
    s = option_scores(model, batch).double()
    label = torch.tensor([x[2] for x in batch])
    return F.cross_entropy(s, label, reduction="sum"), len(batch), (s.argmax(-1) == label).sum()


def evaluate(model, data):
    order = sorted(range(len(data)), key=lambda i: len(data[i][0][0]))
    parts = [score(model, [data[i] for i in order[k:k + 64]]) for k in range(0, len(data), 64)]
    loss, weight, right = (float(sum(p[k] for p in parts)) for k in range(3))
    return {"loss": loss / weight, "accuracy": right / weight, "examples": len(data)}


# --- MeZO ---


def move(model, seed, scale):
    """w += scale z(seed), tensor by tensor in the order of their names."""
    g = torch.Generator().manual_seed(seed)
    for w in model.w.values():
        w.add_(torch.randn(w.shape, generator=g), alpha=scale)


def mezo_step(model, batch, seed, eps, lr):
    side = []
    for scale in (eps, -2 * eps):
        move(model, seed, scale)
        loss, weight, _ = score(model, batch)
        side.append(float(loss) / weight)
    move(model, seed, eps)
    g = (side[0] - side[1]) / (2 * eps)
    move(model, seed, -lr * g)
    return sum(side) / 2, g


def batches(n, size, rng):
    """Endless shuffled epochs, cut into batches across their ends."""
    queue = []
    while True:
        while len(queue) < size:
            queue += rng.sample(range(n), n)
        yield queue[:size]
        queue = queue[size:]


def draw(a, tok, model, seed):
    """Train and dev rows by one permutation of the seed: train from its start, dev from its end."""
    rows = read_rows(a.train, a.replace)
    order = random.Random(seed).sample(range(len(rows)), len(rows))
    if a.dev:
        dev = read_rows(a.dev, a.replace)[:a.num_dev or None]
    else:
        dev = [rows[i] for i in order[len(rows) - a.num_dev:]]
        order = order[:len(rows) - a.num_dev]
    train = [rows[i] for i in order[:a.num_train or None]]
    return encode(train, tok, a, model), encode(dev, tok, a, model)


def run(a, seed):
    say = lambda **k: print(json.dumps({"seed": seed, **k}), flush=True)
    model = Llama(a.model)
    tok = Tokenizer.from_file(str(pathlib.Path(a.model) / "tokenizer.json"))
    train, dev = draw(a, tok, model, seed)
    rng, began = random.Random(seed + 1), time.time()
    say(set="start", train=len(train), dev=len(dev), task=a.task, eps=a.eps, lr=a.lr, batch=a.batch,
        parameters=sum(w.numel() for w in model.w.values()), torch=torch.__version__,
        tokenizers=tokenizers.__version__)
    say(set="dev", step=0, **evaluate(model, dev))
    for step, index in zip(range(1, a.steps + 1), batches(len(train), a.batch, rng)):
        loss, g = mezo_step(model, [train[i] for i in index], rng.randrange(2**31), a.eps, a.lr)
        if step % a.log_every == 0:
            say(set="train", step=step, loss=loss, g=g, seconds=round(time.time() - began, 1))
        if step % a.eval_every == 0 or step == a.steps:
            say(set="dev", step=step, **evaluate(model, dev))
    if a.test:
        test = encode(read_rows(a.test, a.replace), tok, a, model)
        say(set="test", step=a.steps, **evaluate(model, test))


def pair(arg):
    """'\\n\\n=\\n' -> two texts."""
    a, sep, b = arg.encode().decode("unicode_escape").partition("=")
    if not sep or not a:
        raise argparse.ArgumentTypeError("expected FROM=TO")
    return a, b


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--model", required=True)
    p.add_argument("--task", choices=["classification", "text"], required=True)
    p.add_argument("--train", required=True)
    p.add_argument("--dev", help="none: the dev rows are drawn from --train")
    p.add_argument("--test")
    p.add_argument("--prompt", default="{text}", help="classification; fields in braces")
    p.add_argument("--option", action="append", help="classification: one for each label, in order")
    p.add_argument("--replace", action="append", type=pair, default=[], help="FROM=TO")
    p.add_argument("--add-eos", action="store_true", help="text: EOS is the last target")
    p.add_argument("--split", action="store_true", help="text: keep all pieces, not the first")
    p.add_argument("--sequence-len", type=int, help="default: the model's context")
    p.add_argument("--num-train", type=int, default=0, help="0: all")
    p.add_argument("--num-dev", type=int, default=0)
    p.add_argument("--batch", type=int, default=16)
    p.add_argument("--steps", type=int, default=1000)
    p.add_argument("--eps", type=float, default=1e-3)
    p.add_argument("--lr", type=float, required=True)
    p.add_argument("--seed", type=int, action="append", help="repeat for several runs (default 0)")
    p.add_argument("--eval-every", type=int, default=100)
    p.add_argument("--log-every", type=int, default=10)
    p.add_argument("--threads", type=int, default=1)
    a = p.parse_args()
    if a.task == "classification" and not a.option:
        sys.exit("--task classification needs --option for each label")
    if not a.dev and not a.num_dev:
        sys.exit("--dev or --num-dev is needed")
    torch.set_num_threads(a.threads)
    with torch.inference_mode():
        for seed in a.seed or [0]:
            run(a, seed)


if __name__ == "__main__":
    main()

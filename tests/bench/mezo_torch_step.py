"""Seconds of a MeZO step in PyTorch, in place, beside `zoft bench step`.

    python tests/bench/mezo_torch_step.py DIR [--batch 16] [--length 64] [--threads 2]
        [--objective lm|options] [--dtype f32|bf16] [--repeat 3] [--adamw]
        [--zoft build/zoft]

The step is algorithm 1 of Malladi et al. 2023 as its authors' code walks it: every parameter
w += eps z, loss, w -= 2 eps z, loss, w += eps z, w -= lr g z, with z drawn again by torch.normal
from the step's seed.  The model is Transformers' own; tokens are random.

lm        cross-entropy of all tokens, logits of all rows
options   two options of one token each a prompt, so twice the rows, as the authors' code does;
          the head runs at the last row alone (logits_to_keep), which is in PyTorch's favour

With --zoft both run in turns, and the median of the ratios is printed.  --adamw times a step of
backpropagation with AdamW instead (lm).
"""
import argparse
import json
import statistics
import subprocess
import time

import torch
import torch.nn.functional as F
import transformers

ap = argparse.ArgumentParser()
ap.add_argument("model")
ap.add_argument("--batch", type=int, default=16)
ap.add_argument("--length", type=int, default=64)
ap.add_argument("--threads", type=int, default=2)
ap.add_argument("--objective", default="lm", choices=["lm", "options"])
ap.add_argument("--dtype", default="f32", choices=["f32", "bf16"])
ap.add_argument("--repeat", type=int, default=3)
ap.add_argument("--adamw", action="store_true")
ap.add_argument("--zoft")
ap.add_argument("--compute", default="bf16", help="arithmetic of zoft")
a = ap.parse_args()

torch.set_num_threads(a.threads)
dtype = torch.float32 if a.dtype == "f32" else torch.bfloat16
model = transformers.AutoModelForCausalLM.from_pretrained(a.model, dtype=dtype)
model.eval()
torch.manual_seed(1)
rows = a.batch * (2 if a.objective == "options" else 1)
ids = torch.randint(0, model.config.vocab_size, (rows, a.length + 1))
params = [p for p in model.parameters() if p.requires_grad]
EPS, LR = 1e-3, 1e-6


def loss():
    if a.objective == "lm":
        logits = model(ids[:, :-1], use_cache=False).logits.float()
        return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), ids[:, 1:].reshape(-1))
    logits = model(ids[:, :-1], use_cache=False, logits_to_keep=1).logits[:, -1].float()
    score = logits.log_softmax(-1).gather(1, ids[:, -1:]).view(a.batch, 2)
    return F.cross_entropy(score, torch.zeros(a.batch, dtype=torch.long))


def move(seed, scale):
    torch.manual_seed(seed)
    for p in params:
        z = torch.normal(mean=0, std=1, size=p.data.size(), dtype=p.data.dtype)
        p.data = p.data + scale * z * EPS


@torch.no_grad()
def mezo(seed):
    move(seed, 1)
    plus = loss()
    move(seed, -2)
    minus = loss()
    g = ((plus - minus) / (2 * EPS)).item()
    move(seed, 1)
    torch.manual_seed(seed)
    for p in params:
        z = torch.normal(mean=0, std=1, size=p.data.size(), dtype=p.data.dtype)
        p.data = p.data - LR * (g * z)


def adamw(_):
    optimizer.zero_grad(set_to_none=True)
    loss().backward()
    optimizer.step()


def zoft():
    out = subprocess.run([a.zoft, "bench", "step", f"base_model={a.model}",
                          f"micro_batch_size={a.batch}", f"sequence_len={a.length}",
                          f"objective={a.objective}", f"threads={a.threads}", f"compute={a.compute}", "--repeat", "3",
                          "--json", "-q"], check=True, capture_output=True, text=True)
    return json.loads(out.stdout)["step_ms"] / 1e3


optimizer = torch.optim.AdamW(params, lr=LR) if a.adamw else None
step = adamw if a.adamw else mezo
step(0)
ours, theirs = [], []
for i in range(a.repeat):
    start = time.perf_counter()
    step(i + 1)
    theirs.append(time.perf_counter() - start)
    if a.zoft:
        ours.append(zoft())
what = "AdamW" if a.adamw else "MeZO"
print(f"PyTorch {torch.__version__}, transformers {transformers.__version__}: {what}, "
      f"{a.objective}, {a.dtype}, {a.threads} threads: {statistics.median(theirs):.2f} s a step")
if ours:
    ratio = statistics.median(t / o for t, o in zip(theirs, ours))
    print(f"zoft: {statistics.median(ours):.2f} s a step; PyTorch / zoft {ratio:.2f}")

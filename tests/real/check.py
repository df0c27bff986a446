"""Runs zoft on three published models: `make check-real`.

    python3 tests/real/check.py build/zoft

The models are fetched once into a cache outside the tree (ZOFT_REAL, else ~/.cache/zoft/real).  Numbers
are compared with tests/real/*.json, which make_golden.py made.  Where Python has torch and transformers
(ZOFT_PYTHON names another Python), Transformers loads every result as well, else one line says that it
did not.  Closes on a line "N passed, N failed, N skipped"."""

import json
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TEXT = os.path.join(HERE, "text.txt")
PYTHON = os.environ.get("ZOFT_PYTHON", sys.executable)
# Of a log-probability: the goal of the project.  Transformers' own F32 is further from F64 than that on texts of
# 2,000 tokens (its rotary angles are rounded), so long texts are compared with F64 and lines with F32.
SAME = 2e-4


class Failure(Exception):
    pass


class Runner:
    def __init__(self, zoft):
        self.zoft = zoft
        self.passed = self.failed = self.skipped = 0

    def step(self, name, function, *args):
        try:
            said = function(*args)
            self.passed += 1
            print(f"ok    {name}  {said}", flush=True)
        except Failure as failure:
            self.failed += 1
            print(f"FAIL  {name}  {failure}", flush=True)

    def skip(self, name, why):
        self.skipped += 1
        print(f"SKIP  {name}: {why}", flush=True)

    def run(self, *args, status=0, given=None):
        done = subprocess.run([self.zoft, *args], input=given, capture_output=True, text=True)
        if done.returncode != status:
            raise Failure(f"{' '.join(args)}: exit {done.returncode}, expected {status}: "
                          f"{(done.stderr or done.stdout).strip()[-500:]}")
        return done

    def json(self, *args):
        return [json.loads(line) for line in self.run(*args, "--json").stdout.splitlines()]


def expect(condition, message):
    if not condition:
        raise Failure(message)


def largest(a, b):
    expect(len(a) == len(b), f"{len(a)} log-probabilities, expected {len(b)}")
    return max(abs(x - y) for x, y in zip(a, b))


# --- steps of a language model -------------------------------------------------------------------


def inspect(r, path):
    said = r.run("inspect", path).stdout
    expect("all wanted tensors present" in said, said[-500:])
    return next(line for line in said.splitlines() if line.startswith("parameters"))


def tokenize(r, path, golden):
    ids = r.json("tokenize", path, "--text", TEXT)[0]["ids"]
    wrong = next((i for i, (x, y) in enumerate(zip(ids, golden["ids"])) if x != y), None)
    expect(ids == golden["ids"], f"{len(ids)} ids, expected {len(golden['ids'])}; first other at {wrong}")
    back = r.run("tokenize", path, "--decode", " ".join(map(str, ids[-40:]))).stdout
    expect("3.14159, 1e-5, 0x7f" in back, f"decoded: {back!r}")
    return f"{len(ids)} ids"


def score(r, path, golden, kind):
    got = r.json("score", path, "--whole", "--text", TEXT)[0]["logprobs"]
    exact = golden["double_logprobs"]
    worst = largest(got, exact)
    expect(worst <= SAME, f"{worst:.2e} from Transformers in F64, expected at most {SAME}")
    said = f"{len(got)} log-probabilities, {worst:.1e} from Transformers in F64"
    if kind == "file":
        said += (f" (its own F32 {largest(golden['transformers_logprobs'], exact):.1e},"
                 f" llama.cpp's F32 {largest(golden['llama_f32_logprobs'], exact):.1e});"
                 f" {largest(got, golden['llama_f32_logprobs']):.1e} from llama.cpp in F32,"
                 f" {largest(got, golden['llama_file_logprobs']):.2g} from llama.cpp on the file, which is"
                 f" {largest(golden['llama_f32_logprobs'], golden['llama_file_logprobs']):.2g} from itself in F32")
    return said


def generate(r, path, golden):
    for one in golden["greedy"]:
        got = r.json("generate", path, "--prompt", one["prompt"], "-n", "24", "-t", "0")[0]
        expect(got["ids"] == one["ids"], f"{got['ids']}, expected {one['ids']}")
    return f"{len(golden['greedy'])} greedy texts are those of Transformers"


def chat(r, path, template):
    extra = ["--chat-template", template] if template else []
    said = r.run("chat", path, *extra, "-t", "0", "-n", "16", "-q", given="What is the capital of France?\n").stdout
    expect(said.strip(), "no reply")
    return repr(said.strip()[:60])


def evaluate(r, path, folder):
    with open(f"{folder}/sst2.jsonl", "w") as f:
        for text, label in [("a warm and funny film", 1), ("dull , slow and far too long", 0),
                            ("one of the best of the year", 1), ("a complete waste of time", 0)]:
            f.write(json.dumps({"sentence": text, "label": label}) + "\n")
    said = r.run("eval", path, "--task", "sst2", "--data", f"{folder}/sst2.jsonl").stdout
    expect("sst2" in said and "acc" in said, said[-300:])
    return " ".join(said.split()[-6:])


CLASSIFICATION = """
datasets:
  - {path: datasets/demo/train.jsonl, type: classification, prompt: "{text} It was", options: [" terrible", " great"]}
test_datasets: [{path: datasets/demo/test.jsonl}]
data_dir: .
num_train: 100
num_eval: 20
val_set_size: 20
learning_rate: 1e-5
max_steps: 20
eval_steps: 10
micro_batch_size: 4
"""


def train(r, path, folder, config):
    with open(f"{folder}/train.yaml", "w") as f:
        f.write(config)
    out = f"{folder}/run"
    r.run("train", f"{folder}/train.yaml", f"base_model={path}", f"output_dir={out}", "-q")
    with open(f"{out}/run.json") as f:
        run = json.load(f)
    expect(run["status"] == "finished", f"status {run['status']}")
    r.run("replay", out, "--verify")
    return f"20 steps, replayed, peak {run['peak_rss_bytes'] / 1e6:.0f} MB"


TRANSFORMERS = """
import json, sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
folder, lines = sys.argv[1], [json.loads(line) for line in sys.stdin]
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
worst = 0.0
for line in lines:
    assert tokenizer(line["text"])["input_ids"] == line["ids"], "other ids"
    ids = torch.tensor([line["ids"]])
    if ids.shape[1] < 2:
        continue
    with torch.no_grad():
        logp = model(ids).logits[0, :-1].double().log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
    worst = max(worst, (logp - torch.tensor(line["logprobs"], dtype=torch.float64)).abs().max().item())
print(worst)
"""


def has_transformers():
    return not subprocess.run([PYTHON, "-c", "import torch, transformers"], capture_output=True).returncode


def with_transformers(r, path):
    lines = r.run("score", path, "--text", TEXT, "--json").stdout
    done = subprocess.run([PYTHON, "-c", TRANSFORMERS, path], input=lines, capture_output=True, text=True)
    expect(not done.returncode, done.stderr.strip()[-500:])
    worst = float(done.stdout.split()[-1])
    expect(worst <= SAME, f"{worst:.2e}, expected at most {SAME}")
    return f"{len(lines.splitlines())} texts, largest difference of a log-probability {worst:.1e}"


PEFT = """
import json, sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
base, adapter, line = sys.argv[1], sys.argv[2], json.loads(sys.stdin.readline())
model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
ids = torch.tensor([line["ids"]])
def logprobs(model):
    with torch.no_grad():
        return model(ids).logits[0, :-1].double().log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
plain = logprobs(model)
tuned = logprobs(PeftModel.from_pretrained(model, adapter).eval())
print(max((tuned - torch.tensor(line["logprobs"])).abs()).item(), (tuned - plain).abs().mean().item())
"""
ADAPTER = ["adapter=lora", "init_lora_weights=eva", "lora_r=4", "lora_target_modules=all-linear", "learning_rate=5e-5",
           "load_best_model_at_end=false"]
LINE = "The film was a great success, and its actors are wonderful from the first scene to the last.\n"


def train_adapter(r, path, folder):
    """The base stays the file: peak memory is the file and a constant, and no weight of it is written."""
    out = f"{folder}/adapter"
    r.run("train", f"{folder}/train.yaml", f"base_model={path}", f"output_dir={out}", "-q", *ADAPTER)
    with open(f"{out}/run.json") as f:
        run = json.load(f)
    expect(run["status"] == "finished", f"status {run['status']}")
    written = sum(os.path.getsize(os.path.join(d, f)) for d, _, files in os.walk(out) for f in files)
    expect(written < 0.2 * os.path.getsize(path), f"{written} bytes written")
    r.run("replay", out, "--verify")
    above = run["peak_rss_bytes"] - os.path.getsize(path)
    expect(above < 60e6, f"peak {above / 1e6:.0f} MB above the file")
    return f"20 steps, replayed, peak {above / 1e6:.0f} MB above the file, {written / 1e6:.1f} MB written"


def use_adapter(r, path, folder):
    out, gguf, merged = f"{folder}/adapter", f"{folder}/adapter.gguf", f"{folder}/merged"
    score = lambda *model: json.loads(r.run("score", *model, "--text", "-", "--json", given=LINE).stdout)["logprobs"]
    plain, tuned = score(path), score(out)
    r.run("export", out, "--to", gguf)
    r.run("merge", path, out, merged, "-q")
    moved = largest(plain, tuned)
    expect(moved > 1e-3, f"the adapter moves nothing: {moved}")
    expect(score(path, "--adapter", f"{out}:0") == plain, "weight 0 is not the base")
    for what, other in (("GGUF", score(path, "--adapter", gguf)), ("merged", score(merged))):
        expect(largest(tuned, other) <= SAME, f"{what}: {largest(tuned, other):.2e} from the adapter")
    return f"moved by {moved:.2g}; as GGUF and merged the same within {SAME}"


def with_peft(r, exported, folder):
    line = r.run("score", exported, "--adapter", f"{folder}/adapter", "--text", "-", "--json", given=LINE).stdout
    done = subprocess.run([PYTHON, "-c", PEFT, exported, f"{folder}/adapter"], input=line, capture_output=True, text=True)
    expect(not done.returncode, done.stderr.strip()[-500:])
    worst, moved = map(float, done.stdout.split()[-2:])
    expect(worst <= SAME, f"{worst:.2e}, expected at most {SAME}")
    return f"largest difference of a log-probability {worst:.1e}, moved by {moved:.2g} on average"


def language_model(r, name, path, template, loadable):
    with open(f"{HERE}/{name}.json") as f:
        golden = json.load(f)
    folder = tempfile.mkdtemp(prefix="zoft-real-")
    exported = f"{folder}/exported"
    r.step(f"{name} inspect", inspect, r, path)
    r.step(f"{name} tokenize", tokenize, r, path, golden)
    r.step(f"{name} score", score, r, path, golden, "file")
    r.step(f"{name} generate", generate, r, path, golden)
    r.step(f"{name} chat", chat, r, path, template)
    r.step(f"{name} eval", evaluate, r, path, folder)
    r.step(f"{name} export", lambda: r.run("export", path, "--to", exported).stdout.strip().split(": ")[-1])
    r.step(f"{name} exported: tokenize", tokenize, r, exported, golden)
    r.step(f"{name} exported: score", score, r, exported, golden, "directory")
    r.step(f"{name} train", train, r, exported, folder, CLASSIFICATION)
    r.step(f"{name} result: inspect", inspect, r, f"{folder}/run")
    r.step(f"{name} adapter over the file: train", train_adapter, r, path, folder)
    r.step(f"{name} adapter: GGUF, merge, weights", use_adapter, r, path, folder)
    if loadable:
        r.step(f"{name} result: in Transformers", with_transformers, r, f"{folder}/run")
        r.step(f"{name} adapter: in PEFT", with_peft, r, exported, folder)
    shutil.rmtree(folder)


# --- steps of an encoder --------------------------------------------------------------------------

LABELS = """
datasets:
  - {path: datasets/demo/train.jsonl, type: labels, prompt: "{text}", options: [negative, positive]}
test_datasets: [{path: datasets/demo/test.jsonl}]
data_dir: .
num_train: 100
val_set_size: 20
learning_rate: 1e-4
compute: f32
max_steps: 20
eval_steps: 10
micro_batch_size: 4
"""

CLASSIFIER = """
import json, sys, torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
folder, rows = sys.argv[1], [json.loads(line) for line in open("datasets/demo/test.jsonl")]
tokenizer = AutoTokenizer.from_pretrained(folder)
model, info = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
assert not info["missing_keys"], info["missing_keys"]
loss = right = 0
for row in rows:
    with torch.no_grad():
        logits = model.eval()(**tokenizer(row["text"], return_tensors="pt")).logits[0].double()
    loss -= logits.log_softmax(-1)[row["label"]].item()
    right += logits.argmax().item() == row["label"]
print(json.dumps({"loss": loss / len(rows), "accuracy": right / len(rows)}))
"""


def encoder_tokenize(r, path, golden):
    for one in golden["texts"]:
        ids = r.json("tokenize", path, one["text"])[0]["ids"]
        expect(ids == one["ids"], f"{one['text']!r}: {ids}, expected {one['ids']}")
    return f"{len(golden['texts'])} texts"


def refuses_masked(r, path, folder):
    with open(f"{folder}/masked.yaml", "w") as f:
        f.write(LABELS.replace("type: labels", "type: masked").replace("{text}", "{text} [MASK]"))
    done = r.run("train", f"{folder}/masked.yaml", f"base_model={path}", f"output_dir={folder}/masked", "-q", status=3)
    expect("has no masked-LM head" in done.stderr, done.stderr)
    return "refused: no masked-LM head"


def classifier(r, path):
    with open(f"{path}/run.json") as f:
        ours = json.load(f)["test_end"]
    done = subprocess.run([PYTHON, "-c", CLASSIFIER, path], capture_output=True, text=True)
    expect(not done.returncode, done.stderr.strip()[-500:])
    theirs = json.loads(done.stdout.splitlines()[-1])
    expect(abs(ours["loss"] - theirs["loss"]) <= SAME, f"loss {ours['loss']}, Transformers {theirs['loss']}")
    return f"loss {ours['loss']:.7f}, Transformers {theirs['loss']:.7f}"


def encoder(r, name, path, loadable):
    with open(f"{HERE}/{name}.json") as f:
        golden = json.load(f)
    folder = tempfile.mkdtemp(prefix="zoft-real-")
    r.step(f"{name} inspect", inspect, r, path)
    r.step(f"{name} tokenize", encoder_tokenize, r, path, golden)
    r.step(f"{name} masked words", refuses_masked, r, path, folder)
    r.step(f"{name} train", train, r, path, folder, LABELS)
    r.step(f"{name} result: inspect", inspect, r, f"{folder}/run")
    if loadable:
        r.step(f"{name} result: in Transformers", classifier, r, f"{folder}/run")
    shutil.rmtree(folder)


def main(zoft):
    cache = os.environ.get("ZOFT_REAL") or os.path.expanduser("~/.cache/zoft/real")
    got = subprocess.run([sys.executable, f"{HERE}/fetch.py", cache], stdout=subprocess.PIPE, text=True)
    if got.returncode == 3:
        print(got.stdout.strip() + "\n\n0 passed, 0 failed, 1 skipped")
        return 0
    if got.returncode:
        return 1
    r = Runner(zoft)
    loadable = has_transformers()
    language_model(r, "smollm2", f"{cache}/smollm2.gguf", None, loadable)
    language_model(r, "gemma3", f"{cache}/gemma3.gguf", "gemma", loadable)
    encoder(r, "minilm", f"{cache}/minilm", loadable)
    if not loadable:
        r.skip("results in Transformers", "this Python has no torch and transformers")
    print(f"\n{r.passed} passed, {r.failed} failed, {r.skipped} skipped")
    return 1 if r.failed else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))

"""Small random classifiers of several labels and of a number, with losses by Transformers and measures by
scikit-learn and SciPy: what tests/unit/test_labels.c compares with.

    python tests/golden/labels/make_labels.py      (rewrites the folders and golden.json beside this file)

Tokens are bytes modulo the vocabulary of 97, as the test's tokenizer has them.
"""
import json
import os
import shutil

import numpy as np
import scipy
import scipy.stats
import sklearn
import torch
import transformers
from sklearn.metrics import f1_score
from transformers import AutoModelForSequenceClassification, BertConfig, LlamaConfig

HERE = os.path.dirname(os.path.abspath(__file__))
BERT = dict(vocab_size=97, hidden_size=16, intermediate_size=20, num_hidden_layers=1, num_attention_heads=2,
            max_position_embeddings=40, pad_token_id=0)
LLAMA = dict(vocab_size=97, hidden_size=16, intermediate_size=20, num_hidden_layers=1, num_attention_heads=2,
             num_key_value_heads=1, max_position_embeddings=40, pad_token_id=0)
TEXTS = ["abc", "the cat sat", "x", "on a mat", "zzz top", "words, words", "Hello there", "last one", "ab", "tiny", "lava", "aa"]  # "a" is the padding token
MULTI = [[0, 2], [], [1], [0, 1, 2], [2], [0], [1, 2], [0], [2, 0], [], [1], [0]]
NUMBERS = [1.5, -2, 0.25, 3, 3, 0, 4.75, -1, 2.5, 1, 0.5, -3]
NONE = [[1], [], [1], [1], [0], [0], [1], [0], [0], [], [0, 1], [1]]  # label 2 never holds


def make(name, config, seed):
    torch.manual_seed(seed)
    m = AutoModelForSequenceClassification.from_config(config).eval()
    with torch.no_grad():
        for p in m.parameters():
            p.copy_(torch.randn(p.shape) * (0.4 if p.dim() > 1 else 0.3) + (1 if p.dim() == 1 else 0))
    folder = os.path.join(HERE, name)
    shutil.rmtree(folder, ignore_errors=True)
    m.save_pretrained(folder)
    return m


def ids(text):
    return [b % 97 for b in text.encode()]


def run(m, golds):
    losses, logits = [], []
    with torch.no_grad():
        for text, gold in zip(TEXTS, golds):
            out = m(torch.tensor([ids(text)]), labels=gold)
            losses.append(float(out.loss))
            logits.append(out.logits[0].tolist())
    return losses, np.array(logits)


def multi(name, config, seed, labels):
    m = make(name, config, seed)
    hot = np.array([[float(k in row) for k in range(3)] for row in labels])
    losses, logits = run(m, [torch.tensor([row], dtype=torch.float32) for row in hot.tolist()])
    said = logits > 0
    return {"rows": [{"text": t, "label": y} for t, y in zip(TEXTS, labels)], "losses": losses,
            "loss": float(np.mean(losses)), "f1_micro": float(f1_score(hot, said, average="micro", zero_division=0)),
            "f1": float(f1_score(hot, said, average="macro", zero_division=0)), "options": 3}


def regression(name, config, seed):
    m = make(name, config, seed)
    losses, logits = run(m, [torch.tensor([y], dtype=torch.float32) for y in NUMBERS])
    x = logits[:, 0]
    return {"rows": [{"text": t, "label": y} for t, y in zip(TEXTS, NUMBERS)], "losses": losses,
            "loss": float(np.mean(losses)), "pearson": float(scipy.stats.pearsonr(x, NUMBERS)[0]),
            "spearman": float(scipy.stats.spearmanr(x, NUMBERS)[0]), "options": 1}


def main():
    several = dict(num_labels=3, problem_type="multi_label_classification")
    out = {"versions": {x.__name__: x.__version__ for x in (transformers, torch, sklearn, scipy)}, "sets": {
        "bert-multi": multi("bert-multi", BertConfig(**BERT, **several), 1, MULTI),
        "llama-multi": multi("llama-multi", LlamaConfig(**LLAMA, **several), 2, NONE),
        "bert-number": regression("bert-number", BertConfig(**BERT, num_labels=1), 3),
        "llama-number": regression("llama-number", LlamaConfig(**LLAMA, num_labels=1, problem_type="regression"), 4)}}
    with open(os.path.join(HERE, "golden.json"), "w") as f:
        json.dump(out, f, indent=1)
        f.write("\n")
    for name, s in out["sets"].items():
        print(name, {k: v for k, v in s.items() if isinstance(v, float)})


if __name__ == "__main__":
    main()

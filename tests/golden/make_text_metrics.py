"""Writes text_metrics.json: values of metrics of texts by their original implementations.

    pip install rouge-score sacrebleu nltk
    python3 tests/golden/make_text_metrics.py > tests/golden/text_metrics.json

exact_match and f1 follow the evaluation script of SQuAD 1.1, in its own few lines below."""
import collections
import importlib.metadata
import json
import re
import string
import warnings

from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from rouge_score import rouge_scorer
from sacrebleu.metrics import BLEU

PAIRS = [
    ("the cat sat on the mat", "the cat sat on the mat"),
    ("The Cat, sat on a mat!", "a cat sat on the mat."),
    ("Denver Broncos", "The Denver Broncos"),
    ("", "nothing"),
    ("something", ""),
    ("", ""),
    ("the", "a"),
    ("one two three", "one two three four five six seven"),
    ("one two three four five six seven", "one two three"),
    ("a b c d e f g h", "h g f e d c b a"),
    ("of of of of of", "of course of course"),
    ("it is a guide to action which ensures that the military always obeys the commands of the party",
     "it is a guide to action that ensures that the military will forever heed party commands"),
    ("It's 12:30, isn't it?", "its 12 30 isn t it"),
    ("caf\u00e9 na\u00efve \u4e2d\u6587 text", "caf\u00e9 naive \u4e2d\u6587 texts"),
    ("yes", "yes"),
    ("no", "yes"),
    ("  spaces \t and\nlines  ", "spaces and lines"),
    ("x y z w x y z w x y", "x y z w"),
    ("in 1998, the U.S. had 5% growth", "the U.S. grew 5% in 1998"),
    ("to be or not to be that is the question", "to be or not to be , that is the question"),
]


def normal(text):
    text = "".join(c for c in text.lower() if c not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def f1(text, gold):
    left, right = normal(text).split(), normal(gold).split()
    if not left and not right:
        return 1.0
    same = sum((collections.Counter(left) & collections.Counter(right)).values())
    return 2.0 * same / (len(left) + len(right))


def main():
    warnings.simplefilter("ignore")
    rouge = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
    bleu = BLEU(tokenize="none", smooth_method="add-k", smooth_value=1, effective_order=True)
    smooth = SmoothingFunction().method2
    cases = []
    for text, gold in PAIRS:
        value = bleu.sentence_score(text, [gold]).score / 100 if text.split() and gold.split() else 0.0
        # The same by NLTK, which needs four words to agree on the orders that a text has.
        if len(text.split()) >= 4 and gold.split():
            other = sentence_bleu([gold.split()], text.split(), smoothing_function=smooth)
            assert abs(other - value) < 1e-9, (text, gold, value, other)
        cases.append({"text": text, "gold": gold, "f1": f1(text, gold),
                      "exact_match": float(normal(text) == normal(gold)),
                      "rouge_l": rouge.score(gold, text)["rougeL"].fmeasure, "bleu": value})
    versions = {name: importlib.metadata.version(name) for name in ("rouge-score", "sacrebleu", "nltk")}
    print(json.dumps({"versions": versions, "cases": cases}, indent=1))


main()

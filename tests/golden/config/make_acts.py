"""Every name of Transformers' table of activations with its values at some places, in double:
what tests/unit/test_family.c compares with.

    python tests/golden/config/make_acts.py    (writes acts.json beside this file)
"""
import json
import pathlib

import torch
import transformers
from transformers.activations import ACT2FN

X = [-12.0, -6.5, -3.0, -2.5, -1.0, -0.3, -1e-3, 0.0, 1e-3, 0.4, 1.0, 2.5, 3.0, 5.5, 6.5, 9.5, 12.0, 30.0]
out = {}
for name in sorted(ACT2FN):
    try:
        with torch.no_grad():
            y = ACT2FN[name](torch.tensor(X, dtype=torch.float64)) if name not in ("prelu", "xielu") else None
    except RuntimeError as e:
        raise SystemExit(f"{name}: {e}")
    out[name] = None if y is None else [float(v) for v in y]
path = pathlib.Path(__file__).parent / "acts.json"
path.write_text(json.dumps({"transformers": transformers.__version__, "x": X, "y": out}) + "\n")
print(len(out), "activations")

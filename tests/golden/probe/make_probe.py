"""Ridge regressions with leave-one-out predictions by fitting again without each row, and blends of two sets
of logits by a search over a grid: what tests/unit/test_ridge.c compares with.

    python tests/golden/probe/make_probe.py      (rewrites golden.json beside this file)
"""
import json
import os

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
GRID = [10.0 ** (k / 2) for k in range(-12, 7)]
CASES = [("primal", 20, 6, 3, False), ("primal, intercept", 20, 6, 3, True), ("dual", 7, 12, 2, False),
         ("dual, intercept", 7, 12, 2, True), ("ten classes", 30, 9, 10, True)]


def fit(x, y, penalty, intercept):
    x_mean = x.mean(0) if intercept else np.zeros(x.shape[1])
    y_mean = y.mean(0) if intercept else np.zeros(y.shape[1])
    x = x - x_mean
    w = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ (y - y_mean))
    return w, y_mean - x_mean @ w


def leave_one_out(x, y, penalty, intercept):
    out = np.zeros_like(y)
    for i in range(len(x)):
        keep = np.arange(len(x)) != i
        w, offset = fit(x[keep], y[keep], penalty, intercept)
        out[i] = x[i] @ w + offset
    return out


def cross_entropy(logits, label):
    top = logits.max(1, keepdims=True)
    lse = np.log(np.exp(logits - top).sum(1)) + top[:, 0]
    return (lse - logits[np.arange(len(label)), label]).mean()


def blend(own, other, label):
    """The best factors: a grid over the box, again and again around its best point."""
    low, high = np.zeros(2), np.array([16.0, 64.0])
    for _ in range(60):
        a, s = np.linspace(low[0], high[0], 13), np.linspace(low[1], high[1], 13)
        loss = np.array([[cross_entropy(p * own + q * other, label) for q in s] for p in a])
        i, j = np.unravel_index(loss.argmin(), loss.shape)
        reach = (high - low) / 5
        best = np.array([a[i], s[j]])
        low, high = np.maximum(best - reach, 0), np.minimum(best + reach, [16.0, 64.0])
    return best, loss.min()


def make(name, rows, width, classes, intercept, rng):
    label = rng.integers(0, classes, rows)
    label[:classes] = range(classes) if classes <= rows else label[:classes]
    centre = rng.standard_normal((classes, width))
    x = (0.6 * centre[label] + rng.standard_normal((rows, width)) + 1).astype(np.float32)
    own = 0.5 * rng.standard_normal((rows, classes))
    x64, y = x.astype(np.float64), np.eye(classes)[label] - 1 / classes
    centred = x64 - x64.mean(0) if intercept else x64
    penalties = [g * (centred ** 2).sum() / width for g in GRID]
    errors = [float(((y - leave_one_out(x64, y, p, intercept)) ** 2).sum(1).mean()) for p in penalties]
    best = int(np.argmin(errors))
    w, offset = fit(x64, y, penalties[best], intercept)
    prediction = leave_one_out(x64, y, penalties[best], intercept)
    factors, loss = blend(own, prediction, label)
    return {"name": name, "rows": rows, "width": width, "classes": classes, "intercept": intercept,
            "x": x.ravel().tolist(), "label": label.tolist(), "own": own.ravel().tolist(), "penalties": penalties,
            "errors": errors, "best": best, "weight": w.T.ravel().tolist(), "offset": offset.tolist(),
            "prediction": prediction.ravel().tolist(), "factors": factors.tolist(), "loss": float(loss),
            "loss_before": float(cross_entropy(own, label)),
            "accuracy_before": float((own.argmax(1) == label).mean())}


def main():
    rng = np.random.default_rng(1)
    golden = {"numpy": np.__version__, "cases": [make(*case, rng) for case in CASES]}
    with open(os.path.join(HERE, "golden.json"), "w", encoding="utf-8") as f:
        json.dump(golden, f, separators=(",", ":"))
        f.write("\n")


if __name__ == "__main__":
    main()

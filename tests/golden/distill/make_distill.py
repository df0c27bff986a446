"""Divergences from a teacher's likeliest tokens and their derivatives, in numpy's f64 from f32 logits: what
tests/unit/test_distill.c compares with.  The files of the teacher are written here, byte for byte, too.

    python tests/golden/distill/make_distill.py      (rewrites golden.json beside this file)
"""
import json
import os
import struct

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
CASES = [("temperature 1", 3, 40, 4, 1.0), ("temperature 2", 3, 40, 4, 2.0), ("cold", 2, 40, 7, 0.5),
         ("all tokens listed", 2, 9, 9, 1.5), ("one token listed", 2, 40, 1, 1.0)]


def log_softmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def coarse(log_p, ids):
    """Log-probabilities of the listed tokens and of all others together."""
    p = np.exp(log_p)
    rest = p.sum() - p[ids].sum() if len(ids) == len(p) else np.delete(p, ids).sum()
    with np.errstate(divide="ignore"):
        return np.append(log_p[ids], np.log(max(rest, 0)) if len(ids) < len(p) else -np.inf)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def file_of(rows, ids, k, vocab, temperature):
    data = b"ZFTEACH1" + struct.pack("<IIdq", 0, k, temperature, vocab) + b"0" * 32
    for count in (rows, 0, 0):
        data += struct.pack("<q", count) + b"0" * 32
    for i in range(rows):
        data += np.array(ids[i][0], "<i4").tobytes() + np.minimum(ids[i][1], 0).astype("<f4").tobytes()
    return data + struct.pack("<I", crc32c(data))


def case(rng, name, rows, vocab, k, temperature):
    teacher = (rng.standard_normal((rows, vocab)) * 3).astype(np.float32)
    student = (teacher + rng.standard_normal((rows, vocab))).astype(np.float32)
    taught, divergence, gradient = [], [], []
    for t, s in zip(teacher.astype(np.float64), student.astype(np.float64)):
        ids = np.sort(np.argsort(-t, kind="stable")[:k])
        log_p, log_q = coarse(log_softmax(t / temperature), ids), coarse(log_softmax(s / temperature), ids)
        taught.append((ids, log_p))
        p, q = np.exp(log_p), np.exp(log_q)
        seen = p > 0
        divergence.append(temperature ** 2 * float((p[seen] * (log_p[seen] - log_q[seen])).sum()))
        all_q = np.exp(log_softmax(s / temperature))
        slope = temperature * (q[-1] - p[-1]) * all_q / q[-1] if k < vocab else np.zeros(vocab)
        slope[ids] = temperature * (q[:-1] - p[:-1])
        gradient.append(slope.tolist())
    return {"name": name, "rows": rows, "vocab": vocab, "k": k, "temperature": temperature,
            "file": file_of(rows, taught, k, vocab, temperature).hex(),
            "student": [[float(x) for x in row] for row in student],
            "divergence": divergence, "gradient": gradient}


if __name__ == "__main__":
    generator = np.random.default_rng(7)
    golden = {"numpy": np.__version__, "cases": [case(generator, *c) for c in CASES]}
    with open(os.path.join(HERE, "golden.json"), "w") as f:
        json.dump(golden, f)
        f.write("\n")

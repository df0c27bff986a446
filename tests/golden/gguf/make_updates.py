"""One step over tiny matrices in blocks, in numpy: what a stream sees of changed scales, the update of the
scales' changes, the scales of the result, and the update of Q8_0's integers.

    python3 tests/golden/gguf/make_updates.py > tests/golden/gguf/updates.json

Made with numpy 2.4.6.  Noise is Philox4x32-7 as lib/rng/noise.h lays it out, signs alone (rademacher), so
that no table of a quantile is needed.  Blocks are decoded by the `gguf` package 0.19.0, whose values are
linear in the scales: a block whose scales are 1 gives the factors.  fma is a longdouble, which is exact
here, rounded once."""
import json

import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import quants

f32, wide = np.float32, np.longdouble
DIRECTION, ROUNDING = 0, 1
# type: values and bytes of a block, offsets of its f16 scales
BLOCKS = {Type.Q8_0: (32, 34, [0]), Type.Q4_0: (32, 18, [0]), Type.Q4_1: (32, 20, [0, 2]),
          Type.Q4_K: (256, 144, [0, 2]), Type.Q6_K: (256, 210, [208]), Type.Q2_K: (256, 84, [80, 82])}


def philox(counter, key):
    c, k = [x.astype(np.uint64) for x in counter], [np.uint64(x) for x in key]
    low, bits = np.uint64(0xFFFFFFFF), np.uint64(32)
    for _ in range(7):
        p, q = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [(q >> bits) ^ c[1] ^ k[0], q & low, (p >> bits) ^ c[3] ^ k[1], p & low]
        k = [(k[0] + np.uint64(0x9E3779B9)) & low, (k[1] + np.uint64(0xBB67AE85)) & low]
    return c


def words(key, use, count):
    """Words of elements 0..count: element 64 b + 16 j + l has word j of counter 16 b + l."""
    blocks = (count + 63) // 64
    q = np.arange(16 * blocks, dtype=np.uint64)
    one = np.ones_like(q)
    out = philox([q, one * np.uint64(key["param"] << 8), one * np.uint64(key["step"]),
                  one * np.uint64(use << 16)], (key["seed"] & 0xFFFFFFFF, key["seed"] >> 32))
    return np.stack([x.reshape(blocks, 16) for x in out], axis=1).reshape(-1)[:count].astype(np.uint32)


def signs(key, count):
    return np.where(words(key, DIRECTION, count) >> np.uint32(31), f32(-1), f32(1))


def fma(x, y, z):
    return (wide(1) * x * y + z).astype(f32)


def scale_table(data, kind):
    size, at = BLOCKS[kind][1:]
    blocks = data.reshape(-1, size)
    return np.stack([blocks[:, i:i + 2].copy().view(np.float16)[:, 0] for i in at], axis=1)


def with_scales(data, kind, scales):
    size, at = BLOCKS[kind][1:]
    blocks = data.reshape(-1, size).copy()
    for j, i in enumerate(at):
        blocks[:, i:i + 2] = scales[:, j].astype(np.float16)[:, None].view(np.uint8)
    return blocks.reshape(-1)


def decode(data, kind, scales):
    """Values with f32 scales.  Of two scales, x = d a + sign dmin b in the order of the format: the parts a
    and b are the values with scales (1, 0) and (0, 1), and integers, so exact."""
    ones, zeros = np.ones(len(scales)), np.zeros(len(scales))
    part = [quants.dequantize(with_scales(data, kind, np.stack(
        [ones if j == k else zeros for k in range(scales.shape[1])], axis=1)), kind).reshape(len(scales), -1)
        for j in range(scales.shape[1])]
    d = scales[:, :1]
    if kind in (Type.Q4_K, Type.Q6_K, Type.Q2_K):  # x = (d s) q - dmin m: two products
        return sum_of_runs(data, kind, scales)
    x = d * part[0]
    return (x + scales[:, 1:] if len(part) == 2 else x).astype(f32)


def runs_of(data, kind):
    """Scales s, minima m and integers q of the runs of a K block."""
    blocks = data.reshape(-1, BLOCKS[kind][1])
    whole = lambda x, d: quants.dequantize(with_scales(x.reshape(-1), kind, d), kind)
    n = len(blocks)
    one_zero = np.stack([np.ones(n), np.zeros(n)], axis=1)[:, :len(BLOCKS[kind][2])]
    zero_one = one_zero[:, ::-1]
    product = whole(blocks, one_zero).reshape(n, 256)
    minimum = -whole(blocks, zero_one).reshape(n, 256) if one_zero.shape[1] == 2 else np.zeros((n, 256))
    if kind == Type.Q2_K:
        s = np.repeat(blocks[:, :16] & 15, 16, axis=1)
    elif kind == Type.Q6_K:
        s = np.repeat(blocks[:, 192:208].view(np.int8), 16, axis=1)
    else:
        packed = blocks[:, 4:16].astype(int)
        first = packed[:, :4] & 63
        last = (packed[:, 8:] & 15) | packed[:, :4] >> 6 << 4
        s = np.repeat(np.concatenate([first, last], axis=1), 32, axis=1)
    s = s.astype(f32)
    q = np.where(s != 0, product / np.where(s != 0, s, 1), 0)
    return s, minimum.astype(f32), q.astype(f32)


def sum_of_runs(data, kind, scales):
    s, m, q = runs_of(data, kind)
    x = (scales[:, :1] * s).astype(f32) * q
    return (x - scales[:, 1:] * m if scales.shape[1] == 2 else x).astype(f32)


def rounded_f16(x, word):
    """f32 to f16: 13 random bits below the last place of the result; normal numbers alone."""
    bits = np.abs(x).view(np.uint32)
    assert (bits >= 0x38800000).all() and (bits < 0x47000000).all()
    half = (bits - np.uint32(0x38000000) + (word & np.uint32(0x1FFF))) >> np.uint32(13)
    return (half | np.where(x < 0, 0x8000, 0)).astype(np.uint16)


def hexes(x):
    return np.ascontiguousarray(x).tobytes().hex()


def scale_case(kind, rng, number):
    values, size, at = BLOCKS[kind]
    rows, columns = 3, 2 * values
    data = rng.integers(0, 256, rows * columns // values * size, dtype=np.uint8)
    stored = (rng.uniform(0.01, 0.05, (rows * columns // values, len(at))) *
              rng.choice([-1, 1], (rows * columns // values, len(at)))).astype(np.float16)
    data = with_scales(data, kind, stored)
    key = {"seed": int(rng.integers(1 << 62)), "step": 5 + number, "param": 40 + number}
    u = rng.normal(0, 0.02, stored.size).astype(f32)
    z, eps, move = signs(key, u.size), f32(1e-3), f32(-2.5e-3)
    s = stored.astype(f32).reshape(-1)
    seen = fma(eps, z, u)
    after = fma(move, z, u)
    result = rounded_f16(fma(after, s, s), words({**key, "seed": 0, "step": 0}, ROUNDING, u.size))
    return {"type": kind.name.lower(), "rows": rows, "columns": columns, "blocks": hexes(data), **key,
            "eps": float(eps), "coefficient": float(move), "change": hexes(u),
            "seen": hexes(decode(data, kind, fma(seen, s, s).reshape(stored.shape))),
            "after": hexes(after), "scales": hexes(result)}


def integer_case(rng):
    blocks = 12
    data = rng.integers(0, 256, blocks * 34, dtype=np.uint8).reshape(blocks, 34)
    data[:, 2:][data[:, 2:] == 128] = 0  # -128
    d = rng.uniform(1e-3, 4e-3, blocks).astype(np.float16)
    data[:, :2] = d[:, None].view(np.uint8)
    key = {"seed": int(rng.integers(1 << 62)), "step": 9, "param": 77}
    z, move = signs(key, 32 * blocks), f32(7e-4)
    d = np.repeat(d.astype(f32), 32)
    w = fma(move, z, d * data[:, 2:].view(np.int8).reshape(-1).astype(f32))
    level = np.clip((w / d).astype(f32), f32(-127), f32(127))
    whole = np.floor(level)
    rest = (level - whole).astype(f32)
    share = (rest * f32(1 << 24)).astype(np.uint64) + (words(key, ROUNDING, z.size) >> np.uint32(8))
    after = data.copy()
    after[:, 2:] = (whole.astype(int) + (share >> np.uint64(24)).astype(int)).astype(np.int8).view(
        np.uint8).reshape(blocks, 32)
    return {"blocks": hexes(data), "count": 32 * blocks, **key, "coefficient": float(move),
            "after": hexes(after)}


def main():
    rng = np.random.default_rng(20261130)
    print(json.dumps({"scales": [scale_case(kind, rng, i) for i, kind in enumerate(BLOCKS)],
                      "integers": integer_case(rng)}, indent=1))


if __name__ == "__main__":
    main()

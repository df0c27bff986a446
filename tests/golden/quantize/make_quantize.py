"""Makes what tests/unit/test_quantize.c reads: values, their blocks by the package `gguf`, and the errors of llama.cpp.

    python tests/golden/quantize/make_quantize.py        (rewrites quantize.safetensors beside this script)

Needs gguf, llama-cpp-python, numpy, safetensors; their versions stand in the file's metadata.
  rounded        [blocks, 32] values: normal, of heavy tails, of one sign, huge, tiny, subnormal, equal, 0
  TYPE.raw       their blocks, for the types that are rounded by the largest values
  normal, heavy  [16, 512] values;  importance [512], positive and of wide spread
  TYPE.errors    sum of squared errors by llama.cpp: of normal, of normal with importance (and so weighted), of heavy,
                 of heavy with importance
"""
import ctypes
import importlib.metadata
import pathlib

import gguf
import llama_cpp
import numpy as np
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).parent
KIND = gguf.GGMLQuantizationType
ROUNDED = ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"]
SEARCHED = ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL"]
ggml = ctypes.CDLL(str(pathlib.Path(llama_cpp.__file__).parent / "lib" / "libggml-base.so"))
ggml.ggml_quantize_chunk.restype = ctypes.c_size_t


def rounded(rng):
    n = rng.standard_normal((4, 32))
    whole = rng.integers(-8, 9, (4, 32)) * 0.25  # ties
    one = np.stack([np.full(32, -3.0), np.full(32, 1e-42), np.zeros(32), np.full(32, -0.0), np.eye(32)[3], -np.eye(32)[31]])
    rows = [n * 0.02, rng.standard_t(2, (4, 32)), whole, -abs(n), abs(n) + 5, n * 1e30, np.clip(n * 3e38, -3.4e38, 3.4e38),
            n * 1e5, n * 1e-7, n * 1e-37, n * 1e-41, one]
    return np.concatenate(rows).astype(np.float32)


def chunk(x, kind, importance):
    block, size = gguf.GGML_QUANT_SIZES[kind]
    out = np.zeros((x.shape[0], x.shape[1] // block * size), np.uint8)
    w = None if importance is None else ctypes.c_void_p(importance.ctypes.data)
    i64 = ctypes.c_int64
    ggml.ggml_quantize_chunk(kind.value, ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(out.ctypes.data), i64(0),
                             i64(x.shape[0]), i64(x.shape[1]), w)
    return gguf.quants.dequantize(out, kind).astype(np.float64)


def main():
    rng = np.random.default_rng(11)
    out = {"rounded": rounded(rng), "normal": (rng.standard_normal((16, 512)) * 0.02).astype(np.float32),
           "heavy": (rng.standard_t(3, (16, 512)) * 0.02).astype(np.float32),
           "importance": rng.gamma(0.5, 1.0, 512).astype(np.float32)}
    w = out["importance"]
    with np.errstate(all="ignore"):
        for name in ROUNDED:
            out[f"{name}.raw"] = gguf.quants.quantize(out["rounded"], KIND[name]).reshape(-1)
    for name in SEARCHED + ROUNDED:
        errors = [(f * (chunk(x, KIND[name], v) - x) ** 2).sum()
                  for x in (out["normal"], out["heavy"]) for v, f in ((None, 1.0), (w, w.astype(np.float64)))]
        out[f"{name}.errors"] = np.array(errors, np.float32)
        print(name, *(f"{e:.4g}" for e in errors))
    versions = {x: importlib.metadata.version(x) for x in ("llama-cpp-python", "gguf", "numpy")}
    save_file(out, HERE / "quantize.safetensors", metadata=versions)
    (HERE / "quantize.safetensors").chmod(0o644)


if __name__ == "__main__":
    main()

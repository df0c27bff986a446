"""Compares the errors of the blocks that zf_quantize writes with those of llama.cpp's quantiser, for development.

    make build/libzoft.so && python tests/golden/compare_quantize.py --lib build/libzoft.so [--rows 400] [MODEL.gguf | DIR ...]

Prints sum w (x - decoded)^2 of zoft divided by llama.cpp's, without importance (w = 1) and with one of wide spread, on random
rows and on rows of the models' matrices, and the processor's nanoseconds of a value."""
import argparse
import ctypes as C
import importlib.metadata
import pathlib
import time

import gguf
import llama_cpp
import numpy as np
from safetensors.numpy import load_file

TYPES = ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]
I64, PTR = C.c_int64, C.c_void_p


def address(x):
    return None if x is None else PTR(x.ctypes.data)


class Quantisers:
    def __init__(self, path):
        self.ours = C.CDLL(path)
        self.ours.zf_dtype_info.restype = C.POINTER(C.c_char_p)
        names = [self.ours.zf_dtype_info(i)[0].decode() for i in range(16)]
        self.number = {name.upper(): i for i, name in enumerate(names)}
        self.theirs = C.CDLL(str(pathlib.Path(llama_cpp.__file__).parent / "lib" / "libggml-base.so"))

    def run(self, name, x, w):
        kind = gguf.GGMLQuantizationType[name]
        block, size = gguf.GGML_QUANT_SIZES[kind]
        rows, columns = x.shape
        for ours in (True, False):
            out = np.zeros((rows, columns // block * size), np.uint8)
            begin = time.process_time()
            if ours:
                self.ours.zf_quantize(address(out), address(x), self.number[name], I64(rows), I64(columns), address(w))
            else:
                self.theirs.ggml_quantize_chunk(kind.value, address(x), address(out), I64(0), I64(rows), I64(columns), address(w))
            seconds = time.process_time() - begin
            miss = gguf.quants.dequantize(out, kind).astype(np.float64) - x
            yield ((1 if w is None else w.astype(np.float64)) * miss ** 2).sum(), seconds / x.size * 1e9


def model_rows(path, rows):
    """Rows of 256 values, evenly from all matrices."""
    path = pathlib.Path(path)
    if path.suffix == ".gguf":
        tensors = [t for t in gguf.GGUFReader(path).tensors if len(t.shape) == 2]
        matrices = (gguf.quants.dequantize(t.data[:: max(1, len(t.data) // 64)], t.tensor_type) for t in tensors)
    else:
        matrices = (v for v in load_file(path / "model.safetensors").values() if v.ndim == 2)
    flat = [m.astype(np.float32).reshape(-1) for m in matrices]
    every = np.concatenate([m[:m.size // 256 * 256].reshape(-1, 256) for m in flat])
    return np.ascontiguousarray(every[:: max(1, len(every) // rows)][:rows])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--lib", required=True)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("models", nargs="*")
    a = parser.parse_args()
    rng = np.random.default_rng(3)
    shape = (a.rows, 1024)
    sets = {"normal": rng.standard_normal(shape), "student 3": rng.standard_t(3, shape), "laplace": rng.laplace(size=shape)}
    sets = {name: (x * 0.02).astype(np.float32) for name, x in sets.items()}
    sets |= {pathlib.Path(m).name[:16]: model_rows(m, a.rows) for m in a.models}
    both = Quantisers(a.lib)
    print("llama-cpp-python", importlib.metadata.version("llama-cpp-python"))
    print("| type |", " | ".join(f"{s}, weighted" for s in sets), "| ns of a value, zoft's and llama.cpp's |")
    for name in TYPES:
        cells, times = [], []
        for x in sets.values():
            ratios = []
            for w in (None, rng.gamma(0.5, 1, x.shape[1]).astype(np.float32)):
                (ours, t), (theirs, u) = both.run(name, x, w)
                ratios.append("both 0" if ours == theirs == 0 else f"{ours / theirs:.3f}" if theirs else f"{ours:.2g} / 0")
                times.append((t, u))
            cells.append(", ".join(ratios))
        print(f"| {name} |", " | ".join(cells), "| %.0f, %.0f |" % tuple(np.median(times, axis=0)), flush=True)


if __name__ == "__main__":
    main()

"""Quantised models beside llama.cpp's own of the same model: mean KL divergence from the original.

  python3 tests/bench/quantize.py ZOFT MODEL --text CALIBRATION --check TEXT [--types q4_0,q4_k_m] [--windows 16]

llama.cpp (the Python package llama-cpp-python) quantises the f16 file that zoft exports, without and with the
importance matrix that zoft gathers; zoft compares every file with the original on the same windows of TEXT.
Prints a table in Markdown.
"""
import argparse
import ctypes
import json
import os
import subprocess
import sys
import tempfile
import time

import gguf
import llama_cpp.llama_cpp as llama

FTYPES = {"q4_0": 2, "q4_1": 3, "q8_0": 7, "q5_0": 8, "q5_1": 9, "q2_k": 10, "q3_k_m": 12,
          "q4_k_s": 14, "q4_k_m": 15, "q5_k_m": 17, "q6_k": 18, "iq4_nl": 25}


def run(*words):
    started = time.time()
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(words)}: {done.stderr}")
    return json.loads(done.stdout), time.time() - started


def importance_of(path):
    """{name: mean squares} of an importance matrix file."""
    tensors = {tensor.name: tensor.data for tensor in gguf.GGUFReader(path).tensors}
    return {name[: -len(".in_sum2")]: sums.reshape(-1) / tensors[name[: -len(".in_sum2")] + ".counts"].reshape(-1)[0]
            for name, sums in tensors.items() if name.endswith(".in_sum2")}


def quantize_by_llama(source, out, ftype, importance):
    params = llama.llama_model_quantize_default_params()
    params.ftype, params.nthread, params.allow_requantize = ftype, 1, True
    if importance:
        entries = (llama.llama_model_imatrix_data * (len(importance) + 1))()
        for entry, (name, values) in zip(entries, importance.items()):
            entry.name, entry.size = name.encode(), len(values)
            entry.data = (ctypes.c_float * len(values))(*values)
        params.imatrix = entries
    if llama.llama_model_quantize(source.encode(), out.encode(), ctypes.byref(params)):
        sys.exit(f"llama.cpp did not quantise {source}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("zoft")
    parser.add_argument("model")
    parser.add_argument("--text", required=True)
    parser.add_argument("--check", required=True)
    parser.add_argument("--types", default="q4_0,q4_k_m,q3_k_m,q2_k,iq4_nl")
    parser.add_argument("--windows", default="16")
    parser.add_argument("--check-windows", default="8")
    parser.add_argument("--compute", default="f32")
    args = parser.parse_args()
    llama.llama_backend_init()
    print(f"llama-cpp-python {llama_cpp_version()}; {args.model}\n")
    print("| type | method | MB | perplexity | KL | \u00b1 | same top % | s |\n|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        source, out, table = (os.path.join(folder, name) for name in ("source.gguf", "out.gguf", "imatrix.gguf"))
        run(args.zoft, "export", args.model, "--to", source, "--type", "f32", "--json")
        calibration = ["--text", args.text, "--windows", args.windows, "--compute", args.compute]
        run(args.zoft, "quantize", args.model, out, "--type", "q8_0", "--imatrix", "auto", "--save-imatrix", table,
            "--check", "none", "--json", *calibration)
        importance = importance_of(table)

        def report(kind, method, seconds):
            result, _ = run(args.zoft, "compare", args.model, out, "--text", args.check, "--windows",
                            args.check_windows, "--compute", args.compute, "--json")
            print(f"| {kind} | {method} | {os.path.getsize(out) / 1e6:.1f} | {result['perplexity']:.4f} | "
                  f"{result['kl']:.5f} | {result['kl_error']:.5f} | {100 * result['same_top']:.1f} | "
                  f"{seconds:.0f} |", flush=True)
            os.unlink(out)

        for kind in args.types.split(","):
            for name, values in (("llama.cpp", None), ("llama.cpp, importance", importance)):
                started = time.time()
                quantize_by_llama(source, out, FTYPES[kind], values)
                report(kind, name, time.time() - started)
            for name, words in (("rtn", []), ("rtn, importance", ["--imatrix", table]),
                                ("awq", ["--method", "awq", *calibration]),
                                ("gptq", ["--method", "gptq", *calibration])):
                _, seconds = run(args.zoft, "quantize", args.model, out, "--type", kind, "--check", "none",
                                 "--json", *words)
                report(kind, "zoft, " + name, seconds)


def llama_cpp_version():
    import llama_cpp
    return llama_cpp.__version__


main()

"""Makes tests/golden/safetensors/ with the safetensors package.

    python tests/golden/make_safetensors.py

mixed.safetensors    every kind of tensor the unit test looks at: dtypes that zoft computes
                     with and some it only lists, rank 0, size zero, metadata.
written.safetensors  the tensors that the unit test also writes with zf_st_write: both files
                     must be the same byte for byte.
sharded/             the first tensors again, split over two files with an index.
versions.json        what made them.
"""
import json
import pathlib

import safetensors
import torch
from safetensors.torch import save_file

here = pathlib.Path(__file__).resolve().parent / "safetensors"


def ramp(n, dtype):
    """Values exact in every float type: -1, -0.75, -0.5, ..."""
    return (torch.arange(n) * 0.25 - 1).to(dtype)


def main():
    (here / "sharded").mkdir(parents=True, exist_ok=True)
    mixed = {
        "a.f32": ramp(6, torch.float32).reshape(2, 3),
        "b.f16": ramp(4, torch.float16),
        "c.bf16": ramp(12, torch.bfloat16).reshape(3, 2, 2),
        "d.i64": torch.arange(3),
        "e.bool": torch.tensor([True, False]),
        "f.f8": ramp(5, torch.float8_e4m3fn),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 7, dtype=torch.bfloat16),
        "na\u00efve \"quoted\"": ramp(1, torch.float64),
    }
    save_file(mixed, here / "mixed.safetensors", metadata={"format": "pt", "note": "a \u2192 b"})
    written = {
        "z.f32": ramp(3, torch.float32),
        "a.bf16": ramp(5, torch.bfloat16),
        "a.f16": ramp(4, torch.float16).reshape(2, 2),
        "b.f32": torch.tensor(0.5),
        "caf\u00e9/\"x\"": torch.zeros(2, 0, dtype=torch.float16),
    }
    save_file(written, here / "written.safetensors", metadata={"format": "pt"})
    shards = {
        "model-00001-of-00002.safetensors": {k: mixed[k] for k in ("c.bf16", "a.f32")},
        "model-00002-of-00002.safetensors": {k: mixed[k] for k in ("b.f16", "scalar")},
    }
    for name, tensors in shards.items():
        save_file(tensors, here / "sharded" / name, metadata={"format": "pt"})
    index = {
        "metadata": {"total_size": sum(t.nbytes for s in shards.values() for t in s.values())},
        "weight_map": {k: name for name, s in shards.items() for k in s},
    }
    (here / "sharded" / "model.safetensors.index.json").write_text(json.dumps(index, indent=2))
    versions = {"safetensors": safetensors.__version__, "torch": torch.__version__}
    (here / "versions.json").write_text(json.dumps(versions, indent=2) + "\n")


if __name__ == "__main__":
    main()

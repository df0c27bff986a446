"""Reference numbers for tests/real/check.py.

    python tests/real/make_golden.py build/zoft CACHE

Needs torch, transformers, llama-cpp-python and gguf.  For each GGUF file of the cache it writes
tests/real/NAME.json with, of the text beside it:

    ids            by llama.cpp
    transformers   log-probabilities of every token after the first, of the directory that
                   `zoft export` writes, in F32
    double         the same with every operation in F64
    llama_f32      the same by llama.cpp on a file that holds the blocks' values in F32, with keys and
                   values in F32, so that nothing is rounded but sums
    llama_file     the same by llama.cpp on the file itself, whose activations llama.cpp rounds to 8 bits
    greedy         greedy continuations by Transformers
and for the encoder minilm.json with ids by AutoTokenizer and the last hidden state of the first token."""

import json
import os
import subprocess
import sys
import tempfile

import gguf
import llama_cpp
import numpy
import torch
import transformers


def plain_buffers(defaults=llama_cpp.llama_model_default_params):
    """Without layouts of weights that only some processors have, whose sums go in another order."""
    params = defaults()
    params.use_extra_bufts = False
    return params


llama_cpp.llama_cpp.llama_model_default_params = plain_buffers

HERE = os.path.dirname(os.path.abspath(__file__))
PROMPTS = ["The capital of France is", "def add(a, b):\n    return", "Once upon a time there was"]


def widen(source, target):
    """Copies a GGUF file with every tensor in F32."""
    reader = gguf.GGUFReader(source)
    arch = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(target, arch)
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        kind = field.types[0]
        sub = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        value = 0 if field.name == "general.file_type" else field.contents()
        writer.add_key_value(field.name, value, kind, sub_type=sub)
    for t in reader.tensors:
        data = t.data if t.tensor_type == gguf.GGMLQuantizationType.F32 else \
            gguf.quants.dequantize(t.data, t.tensor_type)
        writer.add_tensor(t.name, numpy.ascontiguousarray(data, dtype=numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def picked(logits, ids):
    logits = logits.astype(numpy.float64)
    top = logits.max(-1, keepdims=True)
    total = numpy.log(numpy.exp(logits - top).sum(-1, keepdims=True)) + top
    return (logits - total)[numpy.arange(len(ids) - 1), ids[1:]].tolist()


def by_llama(path, text):
    model = llama_cpp.Llama(path, n_ctx=2560, n_batch=512, logits_all=True, n_threads=2, verbose=False,
                            type_k=llama_cpp.GGML_TYPE_F32, type_v=llama_cpp.GGML_TYPE_F32)
    ids = model.tokenize(text.encode(), add_bos=True, special=True)
    rows = []
    for at in range(0, len(ids), 512):  # by parts, since a row of logits is a vocabulary wide
        model.eval(ids[at:at + 512])
        end = min(at + 512, len(ids))
        rows.append(picked(model.scores[at:end], ids[at:end + 1] if end < len(ids) else ids[at:end]))
    return ids, [x for row in rows for x in row]


def by_transformers(folder, text):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = tokenizer(text)["input_ids"]
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, :-1].numpy()
    values = picked(logits, ids)
    greedy = []
    for prompt in PROMPTS:
        with torch.no_grad():
            out = model.generate(**tokenizer(prompt, return_tensors="pt"), do_sample=False, max_new_tokens=24)[0]
        greedy.append({"prompt": prompt, "ids": out.tolist()})
    return ids, values, greedy


def in_double(folder, ids):
    """Log-probabilities by Transformers with every operation in F64: its modules ask for float32 by name,
    and its rotary angles have an error of up to 1e-4 in F32 at position 2,000."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()
    rotary = model.model.rotary_emb
    for name, buffer in list(rotary.named_buffers()):
        kind = name.replace("_original_inv_freq", "").replace("_inv_freq", "")
        parameters = model.config.rope_parameters
        theta = parameters.get(kind, parameters)["rope_theta"]
        steps = torch.arange(len(buffer), dtype=torch.float64) / len(buffer)
        setattr(rotary, name, theta ** -steps)
    single, cast = torch.float32, torch.Tensor.float
    torch.float32, torch.Tensor.float = torch.float64, torch.Tensor.double
    try:
        with torch.no_grad():
            logits = model(torch.tensor([ids]), use_cache=False).logits[0, :-1].numpy()
    finally:
        torch.float32, torch.Tensor.float = single, cast
    return picked(logits, ids)


def shortened(values):
    return [float(f"{x:.7g}") for x in values]


def causal(zoft, cache, name, text):
    source = os.path.join(cache, name + ".gguf")
    with tempfile.TemporaryDirectory() as folder:
        widen(source, folder + "/f32.gguf")
        ids, wide = by_llama(folder + "/f32.gguf", text)
        _, file = by_llama(source, text)
        subprocess.run([zoft, "export", source, "--to", folder + "/dir", "-q"], check=True)
        ours, values, greedy = by_transformers(folder + "/dir", text)
        double = in_double(folder + "/dir", ids)
    assert ids == ours, "llama.cpp and Transformers give other ids"
    out = {"llama_cpp_python": llama_cpp.__version__, "transformers": transformers.__version__,
           "torch": torch.__version__, "ids": ids, "transformers_logprobs": shortened(values), "double_logprobs": shortened(double),
           "llama_f32_logprobs": shortened(wide), "llama_file_logprobs": shortened(file), "greedy": greedy}
    for key in ("transformers", "llama_f32"):
        worst = max(abs(a - b) for a, b in zip(out[key + "_logprobs"], file))
        print(name, key, "from llama.cpp on the file", worst)
    print(name, "transformers from llama_f32", max(abs(a - b) for a, b in zip(values, wide)))
    print(name, "transformers from itself in F64", max(abs(a - b) for a, b in zip(values, double)))
    print(name, "llama_f32 from Transformers in F64", max(abs(a - b) for a, b in zip(wide, double)))
    with open(f"{HERE}/{name}.json", "w") as f:
        json.dump(out, f)
        f.write("\n")


def encoder(cache):
    folder = os.path.join(cache, "minilm")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    out = {"transformers": transformers.__version__, "torch": torch.__version__, "texts": []}
    for text in ["The film was good.", "Grüße aus München, naïve café!", "don't stop: 3.14159 [MASK]", "東京の朝"]:
        given = tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            hidden = model(**given).last_hidden_state[0, 0]
        out["texts"].append({"text": text, "ids": given["input_ids"][0].tolist(), "hidden": shortened(hidden.tolist())})
    with open(f"{HERE}/minilm.json", "w") as f:
        json.dump(out, f)
        f.write("\n")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(f"{HERE}/text.txt") as f:
        everything = f.read()
    encoder(sys.argv[2])
    for model_name in ("smollm2", "gemma3"):
        causal(sys.argv[1], sys.argv[2], model_name, everything)

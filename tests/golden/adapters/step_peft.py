"""Memory and seconds of a step of LoRA by AdamW in PyTorch with PEFT, for comparison with `zoft bench`.

    python3 step_peft.py MODEL_DIR [--targets all-linear] [--rank 8] [--batch 16] [--length 64] [--steps 5]

Prints the peak resident memory of the process, what it was before the model was loaded, and the median
seconds of a step (forward, backward, update) on random tokens."""
import argparse
import resource
import statistics
import time

import peft
import torch
import transformers


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--targets", default="q_proj,v_proj")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", default="float32")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    before = peak()
    model = transformers.AutoModelForCausalLM.from_pretrained(args.model, dtype=getattr(torch, args.dtype))
    targets = args.targets if args.targets == "all-linear" else args.targets.split(",")
    config = peft.LoraConfig(r=args.rank, lora_alpha=16, target_modules=targets, task_type="CAUSAL_LM")
    model = peft.get_peft_model(model, config)
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-4)
    ids = torch.randint(0, model.config.vocab_size, (args.batch, args.length))
    seconds = []
    for _ in range(args.steps + 1):
        start = time.perf_counter()
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - start)
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}, "
          f"{args.dtype}, {args.threads} threads")
    print(f"peak {peak() / 1e6:.0f} MB, {before / 1e6:.0f} MB of it before the model; "
          f"step {statistics.median(seconds[1:]):.3f} s")


if __name__ == "__main__":
    main()

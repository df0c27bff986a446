"""A random llama checkpoint of 135 million parameters, for measurements of speed.

    python tests/bench/make_llama.py DIR [f32|bf16]

Needs torch and transformers.  There is no tokenizer: `zoft bench step` needs none.
"""
import sys

import torch
from transformers import LlamaConfig, LlamaForCausalLM

torch.manual_seed(0)
config = LlamaConfig(hidden_size=576, num_hidden_layers=30, num_attention_heads=9,
                     num_key_value_heads=3, intermediate_size=1536, vocab_size=49152,
                     max_position_embeddings=2048, tie_word_embeddings=True, rms_norm_eps=1e-5)
bf16 = len(sys.argv) > 2 and sys.argv[2] == "bf16"
model = LlamaForCausalLM(config).to(torch.bfloat16 if bf16 else torch.float32)
model.save_pretrained(sys.argv[1])
print(sum(p.numel() for p in model.parameters()), "parameters in", sys.argv[1])

"""Shapes of Llama models, for synthetic checkpoints."""

from __future__ import annotations

from typing import Any

from graphmerge.frozen_classes import frozen
from graphmerge.spec import DType, TensorSpec


@frozen
class LlamaShape:
    """The numbers that fix every tensor of a Llama model."""

    layers: int
    """Number of decoder layers."""
    hidden: int
    """Width of the residual stream; a multiple of `heads`."""
    intermediate: int
    """Width inside the MLP."""
    vocabulary: int
    """Rows of the embedding; 259 or more, for the byte-level tokenizer."""
    heads: int
    """Attention heads."""
    kv_heads: int
    """Heads of keys and values; divides `heads`."""
    tied: bool = False
    """Whether the head is the embedding, so that no `lm_head.weight` is stored."""
    experts: int = 0
    """Experts of each layer, each with an MLP, as in Qwen3-MoE; 0 for a single MLP."""

    @property
    def parameters(self) -> int:
        """Number of stored parameters."""
        return sum(spec.numel for spec in self.tensors(DType.BF16).values())

    def tensors(self, dtype: DType) -> dict[str, TensorSpec]:
        """Every tensor by name, in the order of the layers."""
        shapes: dict[str, tuple[int, ...]] = {
            "model.embed_tokens.weight": (self.vocabulary, self.hidden)
        }
        for layer in range(self.layers):
            for suffix, shape in self._layer().items():
                shapes[f"model.layers.{layer}.{suffix}"] = shape
        shapes["model.norm.weight"] = (self.hidden,)
        if not self.tied:
            shapes["lm_head.weight"] = (self.vocabulary, self.hidden)
        return {name: TensorSpec(shape, dtype) for name, shape in shapes.items()}

    def _layer(self) -> dict[str, tuple[int, ...]]:
        kv_width = self.hidden // self.heads * self.kv_heads
        shapes: dict[str, tuple[int, ...]] = {
            "input_layernorm.weight": (self.hidden,),
            "self_attn.q_proj.weight": (self.hidden, self.hidden),
            "self_attn.k_proj.weight": (kv_width, self.hidden),
            "self_attn.v_proj.weight": (kv_width, self.hidden),
            "self_attn.o_proj.weight": (self.hidden, self.hidden),
            "post_attention_layernorm.weight": (self.hidden,),
        }
        return shapes | self._mlp()

    def _mlp(self) -> dict[str, tuple[int, ...]]:
        one: dict[str, tuple[int, ...]] = {
            "gate_proj.weight": (self.intermediate, self.hidden),
            "up_proj.weight": (self.intermediate, self.hidden),
            "down_proj.weight": (self.hidden, self.intermediate),
        }
        if not self.experts:
            return {f"mlp.{suffix}": shape for suffix, shape in one.items()}
        experts = {
            f"mlp.experts.{expert}.{suffix}": shape
            for expert in range(self.experts)
            for suffix, shape in one.items()
        }
        return {"mlp.gate.weight": (self.experts, self.hidden), **experts}

    def config(self, dtype: DType) -> dict[str, Any]:
        """The config.json with which transformers builds this model."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_act": "silu",
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "max_position_embeddings": 2048,
            "num_attention_heads": self.heads,
            "num_hidden_layers": self.layers,
            "num_key_value_heads": self.kv_heads,
            "rms_norm_eps": 1e-05,
            "rope_theta": 10000.0,
            "tie_word_embeddings": self.tied,
            "torch_dtype": dtype.torch_name,
            "vocab_size": self.vocabulary,
            "bos_token_id": 1,
            "eos_token_id": 2,
        }


TINY = LlamaShape(4, 32, 64, vocabulary=320, heads=4, kv_heads=2)
"""A twentieth of a megabyte; for tests."""
DEMO = LlamaShape(12, 512, 1408, vocabulary=16000, heads=8, kv_heads=4)
"""About 100 MB in bf16."""
LLAMA_0_1B = LlamaShape(12, 640, 1728, vocabulary=32000, heads=10, kv_heads=10)
"""0.1 billion parameters; no real model has this shape."""
LLAMA_1_1B = LlamaShape(22, 2048, 5632, vocabulary=32000, heads=32, kv_heads=4)
"""TinyLlama-1.1B."""
LLAMA_7B = LlamaShape(32, 4096, 11008, vocabulary=32000, heads=32, kv_heads=32)
"""Llama-2-7B."""
LLAMA_70B = LlamaShape(80, 8192, 28672, vocabulary=32000, heads=64, kv_heads=8)
"""Llama-2-70B: 723 tensors."""

"""Recipes on which graphmerge and mergekit must agree, by name."""

LINEAR = {
    "linear-two": """
merge_method: linear
models:
- {model: llama/a, parameters: {weight: 0.7}}
- {model: llama/b, parameters: {weight: 0.2}}
""",
    "linear-three-bf16": """
merge_method: linear
models:
- {model: llama-bf16/a, parameters: {weight: 0.5}}
- {model: llama-bf16/b, parameters: {weight: 0.3}}
- {model: llama-bf16/c, parameters: {weight: 0.4}}
""",
    "linear-fp16": """
merge_method: linear
models:
- {model: llama-fp16/a, parameters: {weight: 1}}
- {model: llama-fp16/b, parameters: {weight: 2}}
""",
    "linear-not-normalized": """
merge_method: linear
models:
- {model: llama/a, parameters: {weight: 0.7}}
- {model: llama/b, parameters: {weight: 0.5}}
parameters: {normalize: false}
""",
    "linear-negative": """
merge_method: linear
models:
- {model: llama/a, parameters: {weight: 1.5}}
- {model: llama/b, parameters: {weight: -0.4}}
""",
    "linear-zero-weight": """
merge_method: linear
models:
- {model: llama/a, parameters: {weight: 1}}
- {model: llama/b, parameters: {weight: 0}}
""",
    "linear-base-not-listed": """
merge_method: linear
base_model: llama/base
models:
- {model: llama/a, parameters: {weight: 0.2}}
- {model: llama/b, parameters: {weight: 0.5}}
parameters: {weight: 1}
""",
    "linear-base-listed": """
merge_method: linear
base_model: llama/base
models:
- {model: llama/a, parameters: {weight: 0.2}}
- {model: llama/base, parameters: {weight: 0.5}}
""",
    "linear-strings": """
merge_method: linear
models:
- {model: llama/a, parameters: {weight: "0.3"}}
- {model: llama/b, parameters: {weight: "7e-1"}}
parameters: {normalize: "false"}
""",
    "linear-gradient-and-filters": """
merge_method: linear
models:
- model: llama/a
  parameters:
    weight:
    - {filter: self_attn, value: [0.1, 0.9, 0.4]}
    - {filter: mlp, value: [1, 0.2]}
    - {value: 0.5}
- model: llama/b
  parameters:
    weight:
    - {filter: v_proj, value: 0.3}
    - {filter: "*", value: 0.6}
""",
    "linear-normalize-by-filter": """
merge_method: linear
models:
- {model: llama/a, parameters: {weight: 0.7}}
- {model: llama/b, parameters: {weight: 0.5}}
parameters: {normalize: [{filter: down_proj, value: false}, {value: true}]}
""",
    "linear-normalize-gradient": """
merge_method: linear
models:
- {model: llama/a, parameters: {weight: 0.7}}
- {model: llama/b, parameters: {weight: 0.5}}
parameters: {normalize: [true, false, true]}
""",
    "linear-superfluous-parameters": """
merge_method: linear
models:
- {model: llama/a, parameters: {weight: 0.7, density: 0.5, normalize: false}}
- {model: llama/b, parameters: {weight: 0.5}}
parameters: {int8_mask: true, t: 0.5}
""",
    "linear-lists-of-one-and-none": """
merge_method: linear
models:
- {model: llama/a, parameters: {weight: [0.3]}}
- {model: llama/b, parameters: {weight: []}}
- {model: llama/c, parameters: {weight: true}}
parameters: {weight: 2}
""",
    "linear-module-default": """
merge_method: linear
modules:
  default:
    models:
    - {model: llama/a, parameters: {weight: 0.3}}
    - {model: llama/b}
    parameters: {weight: 0.6}
""",
    "linear-global-weight-falls-through": """
merge_method: linear
models:
- {model: llama/a, parameters: {weight: [{filter: mlp, value: 0.1}]}}
- {model: llama/b}
parameters: {weight: 0.7}
""",
}

SLERP = {
    "slerp-scalar": """
merge_method: slerp
base_model: llama/a
models: [{model: llama/a}, {model: llama/b}]
parameters: {t: 0.3}
""",
    "slerp-base-second": """
merge_method: slerp
base_model: llama/b
models: [{model: llama/a}, {model: llama/b}]
parameters: {t: 0.3}
""",
    "slerp-base-not-listed": """
merge_method: slerp
base_model: llama/base
models: [{model: llama/a}]
parameters: {t: 0.6}
""",
    "slerp-classic": """
slices:
- sources:
  - {model: llama-bf16/a, layer_range: [0, 4]}
  - {model: llama-bf16/b, layer_range: [0, 4]}
merge_method: slerp
base_model: llama-bf16/a
parameters:
  t:
  - {filter: self_attn, value: [0, 0.5, 0.3, 0.7, 1]}
  - {filter: mlp, value: [1, 0.5, 0.7, 0.3, 0]}
  - {value: 0.5}
dtype: bfloat16
""",
    "slerp-classic-fp32": """
slices:
- sources:
  - {model: llama/a, layer_range: [0, 4]}
  - {model: llama/b, layer_range: [0, 4]}
merge_method: slerp
base_model: llama/a
parameters:
  t:
  - {filter: self_attn, value: [0, 0.5, 0.3, 0.7, 1]}
  - {filter: mlp, value: [1, 0.5, 0.7, 0.3, 0]}
  - {value: 0.5}
""",
    "slerp-fp16-int8-mask": """
merge_method: slerp
base_model: llama-fp16/a
models: [{model: llama-fp16/a}, {model: llama-fp16/b}]
parameters: {t: 0.5, int8_mask: true}
""",
    "slerp-beyond-the-ends": """
merge_method: slerp
base_model: llama/a
models: [{model: llama/a}, {model: llama/b}]
parameters: {t: [-0.2, 1.3]}
""",
    "slerp-per-slice": """
merge_method: slerp
base_model: llama/a
slices:
- sources:
  - {model: llama/a, layer_range: [0, 2]}
  - {model: llama/b, layer_range: [0, 2]}
  parameters: {t: [0.1, 0.8]}
- sources:
  - {model: llama/a, layer_range: [2, 3]}
  - {model: llama/b, layer_range: [1, 2]}
  parameters: {t: [0.2, 0.7]}
- sources:
  - {model: llama/b, layer_range: [1, 4]}
  - {model: llama/c, layer_range: [1, 4]}
  base_model: llama/c
  parameters: {t: [0.9, 0.4]}
parameters: {t: 0.5}
""",
}

TASK_VECTORS = {
    "task-arithmetic": """
merge_method: task_arithmetic
base_model: llama/base
models:
- {model: llama/a, parameters: {weight: 0.7}}
- {model: llama/b, parameters: {weight: -0.3}}
""",
    "task-arithmetic-lambda": """
merge_method: task_arithmetic
base_model: llama/base
models:
- {model: llama/base}
- {model: llama/a, parameters: {weight: 0.7}}
- {model: llama/b, parameters: {weight: 0.3}}
parameters: {lambda: [0.5, 1.5]}
""",
    "task-arithmetic-normalize": """
merge_method: task_arithmetic
base_model: llama/base
models:
- {model: llama/a, parameters: {weight: 0.7}}
- {model: llama/b, parameters: {weight: 0.6}}
- {model: llama/c, parameters: {weight: [0, 1]}}
parameters: {normalize: true}
""",
    "task-arithmetic-normalize-opposed": """
merge_method: task_arithmetic
base_model: llama/base
models:
- {model: llama/a, parameters: {weight: 0.5}}
- {model: llama/b, parameters: {weight: -0.5}}
parameters: {normalize: true}
""",
    "task-arithmetic-bf16": """
merge_method: task_arithmetic
base_model: llama-bf16/base
models:
- {model: llama-bf16/a, parameters: {weight: 0.7}}
- {model: llama-bf16/b, parameters: {weight: 0.3, normalize: true}}
dtype: float32
out_dtype: bfloat16
""",
    "ties": """
merge_method: ties
base_model: llama/base
models:
- {model: llama/a, parameters: {density: 0.5, weight: 0.7}}
- {model: llama/b, parameters: {density: 0.3, weight: 0.5}}
parameters: {normalize: true, int8_mask: true}
""",
    "ties-lists": """
merge_method: ties
base_model: llama/base
models:
- {model: llama/base}
- {model: llama/a, parameters: {density: [1, 0.7, 0.1], weight: 1.0}}
- {model: llama/b, parameters: {density: 0.5, weight: [0, 0.3, 0.7, 1]}}
- model: llama/c
  parameters:
    density: 0.33
    weight: [{filter: mlp, value: 0.5}, {value: 0}]
parameters: {normalize: true, int8_mask: true}
""",
    "ties-negative": """
merge_method: ties
base_model: llama/base
models:
- {model: llama/a, parameters: {density: 0.6, weight: 0.9}}
- {model: llama/b, parameters: {density: 0.6, weight: -0.4}}
- {model: llama/c, parameters: {density: 0.6, weight: 0.3}}
""",
    "ties-negative-not-normalized": """
merge_method: ties
base_model: llama/base
models:
- {model: llama/a, parameters: {density: 0.6, weight: 0.9}}
- {model: llama/b, parameters: {density: 0.6, weight: -0.4}}
parameters: {normalize: false}
""",
    "ties-opposed-weights": """
merge_method: ties
base_model: llama/base
models:
- {model: llama/a, parameters: {weight: 0.5}}
- {model: llama/b, parameters: {weight: -0.5}}
""",
    "ties-not-normalized-density-1": """
merge_method: ties
base_model: llama/base
models:
- {model: llama/a, parameters: {density: 1, weight: 0.7}}
- {model: llama/b, parameters: {weight: 0.6}}
- {model: llama/c, parameters: {density: "1.0", weight: 0.2}}
parameters: {normalize: false}
""",
    "ties-rescale-lambda": """
merge_method: ties
base_model: llama/base
models:
- {model: llama/a, parameters: {density: 0.4, weight: 0.7}}
- {model: llama/b, parameters: {density: 0.7, weight: 0.6}}
parameters: {rescale: true, lambda: 0.8}
""",
    "ties-sparse": """
merge_method: ties
base_model: llama/base
models:
- {model: llama/a, parameters: {density: 0.00001, weight: 0.7}}
- {model: llama/b, parameters: {density: 0, weight: 0.6}}
""",
    "ties-one-model": """
merge_method: ties
base_model: llama/base
models:
- {model: llama/a, parameters: {density: 0.25, weight: 0.3}}
""",
    "ties-zero-weight": """
merge_method: ties
base_model: llama/base
models:
- {model: llama/a, parameters: {density: 0.5, weight: 0}}
- {model: llama/b, parameters: {density: 0.5, weight: 0.6}}
""",
    # Weights that are sums of few powers of two, so that opposed 16-bit updates cancel exactly.
    "ties-bf16-density-1": """
merge_method: ties
base_model: llama-bf16/base
models:
- {model: llama-bf16/a, parameters: {weight: 0.75}}
- {model: llama-bf16/b, parameters: {weight: 0.5}}
dtype: float32
out_dtype: bfloat16
""",
    "ties-slices": """
merge_method: ties
base_model: llama/base
slices:
- sources:
  - {model: llama/base, layer_range: [0, 3]}
  - {model: llama/a, layer_range: [0, 3], parameters: {density: [0.2, 0.8], weight: 0.7}}
  - {model: llama/b, layer_range: [1, 4], parameters: {density: 0.5, weight: [1, 0]}}
- sources:
  - {model: llama/b, layer_range: [2, 4], parameters: {weight: 0.4}}
  - {model: llama/c, layer_range: [2, 4]}
  base_model: llama/c
  parameters: {density: 0.4, weight: 0.8, normalize: false}
""",
    "dare-linear-density-1": """
merge_method: dare_linear
base_model: llama/base
models:
- {model: llama/a, parameters: {density: 1, weight: 0.7}}
- {model: llama/b, parameters: {weight: 0.6}}
parameters: {lambda: 0.9}
""",
    "dare-linear-normalize": """
merge_method: dare_linear
base_model: llama/base
models:
- {model: llama/a, parameters: {weight: 0.7}}
- {model: llama/b, parameters: {weight: 0.6}}
parameters: {normalize: true, rescale: false}
""",
    "dare-ties-density-1": """
merge_method: dare_ties
base_model: llama/base
models:
- {model: llama/a, parameters: {density: 1, weight: 0.7}}
- {model: llama/b, parameters: {density: 1, weight: -0.6}}
- {model: llama/c, parameters: {density: 1, weight: 0.4}}
parameters: {int8_mask: true}
""",
    "dare-ties-normalize": """
merge_method: dare_ties
base_model: llama/base
models:
- {model: llama/a, parameters: {density: 1, weight: 0.7}}
- {model: llama/b, parameters: {density: 1, weight: 0.6}}
parameters: {normalize: true}
""",
}


def slerp_of(base, other):
    return f"""
merge_method: slerp
base_model: {base}
models: [{{model: {base}}}, {{model: {other}}}]
parameters: {{t: 0.3}}
"""


EXTREMES = {
    "slerp-same": slerp_of("llama/a", "extreme/same-as-a"),
    "slerp-parallel": slerp_of("llama/a", "extreme/a-times-2"),
    "slerp-antiparallel": slerp_of("llama/a", "extreme/minus-a"),
    "slerp-to-zero": slerp_of("llama/a", "extreme/zero"),
    "slerp-from-zero": slerp_of("extreme/zero", "llama/a"),
    "ties-no-updates": """
merge_method: ties
base_model: llama/a
models: [{model: extreme/same-as-a, parameters: {weight: 1, density: 0.5}}]
parameters: {rescale: true}
""",
    "ties-one-update-is-zero": """
merge_method: ties
base_model: llama/a
models:
- {model: extreme/same-as-a, parameters: {weight: 1, density: 0.5}}
- {model: llama/b, parameters: {weight: 0.3, density: 0.4}}
parameters: {rescale: true}
""",
    "ties-opposed-updates": """
merge_method: ties
base_model: llama/base
models:
- {model: llama/a, parameters: {weight: 1, density: 0.5}}
- {model: extreme/base-minus-update, parameters: {weight: 2, density: 0.5}}
""",
    "ties-all-weights-negative": """
merge_method: ties
base_model: llama/base
models:
- {model: llama/a, parameters: {weight: -1, density: 0.7}}
- {model: llama/b, parameters: {weight: -0.3}}
""",
    "ties-all-weights-zero": """
merge_method: ties
base_model: llama/base
models: [{model: llama/a}, {model: llama/b}]
parameters: {weight: 0}
""",
    "dare-density-0": """
merge_method: dare_ties
base_model: llama/base
models:
- {model: llama/a, parameters: {weight: 1, density: 0}}
- {model: llama/b, parameters: {weight: 0.4}}
""",
}

PASSTHROUGH = {
    "passthrough-copy": """
merge_method: passthrough
models: [{model: llama-bf16/a, parameters: {weight: 0.3}}]
""",
    "passthrough-frankenmerge": """
merge_method: passthrough
slices:
- {sources: [{model: llama-bf16/a, layer_range: [0, 3]}]}
- {sources: [{model: llama-bf16/b, layer_range: [1, 4]}]}
dtype: bfloat16
""",
    "passthrough-scale": """
merge_method: passthrough
slices:
- sources:
  - model: llama/a
    layer_range: [0, 3]
- sources:
  - model: llama/a
    layer_range: [1, 3]
    parameters:
      scale:
      - {filter: o_proj, value: 0.0}
      - {filter: down_proj, value: 0.0}
      - {value: 1.0}
- sources:
  - model: llama/b
    layer_range: [3, 4]
    parameters: {scale: [0.3, 0.6]}
""",
    "passthrough-head-from-empty-slice": """
merge_method: passthrough
slices:
- {sources: [{model: llama/a, layer_range: [0, 2]}]}
- {sources: [{model: llama/b, layer_range: [2, 4]}]}
- {sources: [{model: llama/c, layer_range: [4, 4]}]}
""",
    "passthrough-base-gives-config": """
merge_method: passthrough
base_model: llama/base
slices:
- {sources: [{model: llama/a, layer_range: [0, 2]}]}
- {sources: [{model: llama/b, layer_range: [0, 4]}]}
""",
    "filters-see-the-output-name-or-the-input-name": """
merge_method: linear
slices:
- sources: [{model: llama/a, layer_range: [0, 2]}, {model: llama/b, layer_range: [1, 3]}]
- sources: [{model: llama/a, layer_range: [1, 3]}, {model: llama/b, layer_range: [2, 4]}]
parameters:
  weight: [{filter: layers.1., value: 0.9}, {filter: layers.3., value: 0.2}, {value: 0.5}]
  normalize: [{filter: layers.1., value: false}, {filter: layers.3., value: false}, {value: true}]
""",
    "passthrough-residual-weight": """
merge_method: passthrough
slices:
- sources: [{model: llama/a, layer_range: [0, 4]}]
  residual_weight: 0.3
parameters: {scale: 0.5}
""",
    "linear-stacked": """
merge_method: linear
slices:
- sources:
  - {model: llama/a, layer_range: [0, 2], parameters: {weight: [0.2, 0.9]}}
  - {model: llama/b, layer_range: [1, 3], parameters: {weight: 0.4}}
- sources:
  - {model: llama/b, layer_range: [3, 4], parameters: {weight: [1, 0.2]}}
  - {model: llama/c, layer_range: [0, 1]}
  parameters: {weight: 0.5, normalize: false}
parameters: {weight: 7}
""",
}

DTYPES = {
    "dtype-float16-of-bf16": """
merge_method: linear
models:
- {model: llama-bf16/a, parameters: {weight: 0.7}}
- {model: llama-bf16/b, parameters: {weight: 0.2}}
dtype: float16
""",
    "dtype-float32-to-bf16": """
merge_method: linear
models:
- {model: llama/a, parameters: {weight: 0.7}}
- {model: llama/b, parameters: {weight: 0.2}}
dtype: float32
out_dtype: bfloat16
""",
    "dtype-float64": """
merge_method: linear
models:
- {model: llama/a, parameters: {weight: 0.7}}
- {model: llama/b, parameters: {weight: 0.2}}
dtype: float64
""",
    "out-dtype-alone": """
merge_method: slerp
base_model: llama/a
models: [{model: llama/a}, {model: llama/b}]
parameters: {t: 0.3}
out_dtype: float16
""",
    "mixed-bf16-fp16": """
merge_method: linear
base_model: llama-bf16/a
models:
- {model: llama-bf16/a, parameters: {weight: 0.7}}
- {model: llama-fp16/b, parameters: {weight: 0.2}}
""",
    "mixed-bf16-fp32-slerp": """
merge_method: slerp
base_model: llama-bf16/a
models: [{model: llama-bf16/a}, {model: llama/b}]
parameters: {t: 0.3}
""",
    "mixed-task-arithmetic": """
merge_method: task_arithmetic
base_model: llama-bf16/base
models:
- {model: llama/a, parameters: {weight: 0.7}}
- {model: llama-fp16/b, parameters: {weight: 0.2}}
""",
    "passthrough-cast": """
merge_method: passthrough
models: [{model: llama/a}]
out_dtype: bfloat16
""",
}

OTHER_FAMILIES = {
    "llama-tied-linear": """
merge_method: linear
models:
- {model: llama-tied/a, parameters: {weight: 0.7}}
- {model: llama-tied/b, parameters: {weight: 0.2}}
""",
    "llama-tied-slerp": """
merge_method: slerp
base_model: llama-tied/a
models: [{model: llama-tied/a}, {model: llama-tied/b}]
parameters: {t: [0.1, 0.9]}
""",
    "mistral-slerp": """
merge_method: slerp
base_model: mistral/a
slices:
- sources:
  - {model: mistral/a, layer_range: [0, 4]}
  - {model: mistral/b, layer_range: [0, 4]}
parameters:
  t: [{filter: self_attn, value: [0, 0.5, 1]}, {filter: mlp, value: [1, 0]}, {value: 0.5}]
dtype: bfloat16
""",
    "mistral-frankenmerge": """
merge_method: passthrough
slices:
- {sources: [{model: mistral/a, layer_range: [0, 3]}]}
- {sources: [{model: mistral/b, layer_range: [1, 4]}]}
dtype: float16
""",
    "qwen2-linear": """
merge_method: linear
models:
- {model: qwen2/a, parameters: {weight: 0.7}}
- {model: qwen2/b, parameters: {weight: 0.2}}
- {model: qwen2/c, parameters: {weight: 0.6}}
""",
    "qwen2-ties": """
merge_method: ties
base_model: qwen2/base
models:
- {model: qwen2/a, parameters: {weight: 0.75}}
- {model: qwen2/b, parameters: {weight: 0.25}}
dtype: float32
""",
    "qwen3-task-arithmetic": """
merge_method: task_arithmetic
base_model: qwen3/base
models:
- {model: qwen3/a, parameters: {weight: 0.7}}
- {model: qwen3/b, parameters: {weight: 0.2}}
""",
    "gemma2-dare-ties": """
merge_method: dare_ties
base_model: gemma2/base
models:
- {model: gemma2/a, parameters: {weight: 0.7}}
- {model: gemma2/b, parameters: {weight: 0.2}}
""",
    "gpt2-slerp": """
merge_method: slerp
base_model: gpt2/base
models: [{model: gpt2/base}, {model: gpt2/a}]
parameters: {t: [0.2, 0.8]}
""",
    "phi3-linear": """
merge_method: linear
models:
- {model: phi3/a, parameters: {weight: 0.7}}
- {model: phi3/b, parameters: {weight: 0.2}}
""",
    "olmo2-ties": """
merge_method: ties
base_model: olmo2/base
models:
- {model: olmo2/a, parameters: {weight: 0.7, density: 0.5}}
- {model: olmo2/b, parameters: {weight: 0.2, density: [0.2, 0.9]}}
""",
    "stablelm-slerp": """
merge_method: slerp
base_model: stablelm/a
models: [{model: stablelm/a}, {model: stablelm/b}]
parameters: {t: 0.4}
""",
    "starcoder2-linear": """
merge_method: linear
models:
- {model: starcoder2/a, parameters: {weight: [0.7, 0.1]}}
- {model: starcoder2/b, parameters: {weight: 0.2}}
""",
}


def _two(method, *, family="llama-tied", more=""):
    return f"""
merge_method: {method}
models:
- {{model: {family}/a, parameters: {{weight: 0.7}}}}
- {{model: {family}/b, parameters: {{weight: 0.2}}}}
{more}
"""


def _three(method, *, family="llama-tied", more=""):
    third = f"- {{model: {family}/c, parameters: {{weight: 0.4}}}}"
    return _two(method, family=family, more=f"{third}\n{more}")


SPHERICAL = {
    "nuslerp": _two("nuslerp"),
    "nuslerp-base": _two("nuslerp", more="base_model: llama-tied/base"),
    "nuslerp-base-listed": """
merge_method: nuslerp
base_model: llama/base
models:
- {model: llama/a, parameters: {weight: 0.7}}
- {model: llama/base, parameters: {weight: 5}}
- {model: llama/b, parameters: {weight: [0.2, 1.4]}}
""",
    "nuslerp-beyond": _two("nuslerp").replace("0.2", "-0.3"),
    "nuslerp-weights-cancel": _two("nuslerp").replace("0.2", "-0.7"),
    "nuslerp-zero": _two("nuslerp", family="llama").replace("llama/b", "extreme/zero"),
    "nuslerp-rows": _two("nuslerp", more="parameters: {nuslerp_flatten: false}"),
    "nuslerp-columns": _two(
        "nuslerp",
        more="base_model: llama-tied/base\n"
        "parameters: {nuslerp_flatten: false, nuslerp_row_wise: true}",
    ),
    "nuslerp-flag-without-effect": _two("nuslerp", more="parameters: {nuslerp_row_wise: true}"),
    "nuslerp-slices": """
merge_method: nuslerp
base_model: llama/base
slices:
- sources:
  - {model: llama/base, layer_range: [0, 2]}
  - {model: llama/a, layer_range: [0, 2], parameters: {weight: 0.7}}
  - {model: llama/b, layer_range: [1, 3], parameters: {weight: 0.4}}
""",
    "multislerp-two": _two("multislerp"),
    "multislerp-three": _three("multislerp"),
    "multislerp-base": _three("multislerp", more="base_model: llama-tied/base"),
    "multislerp-not-normalized": _three(
        "multislerp", more="parameters: {normalize_weights: false}"
    ),
    "multislerp-eps": _three("multislerp", more="parameters: {eps: 0.3}"),
    "multislerp-opposite": """
merge_method: multislerp
models:
- {model: llama/a, parameters: {weight: 0.5}}
- {model: extreme/minus-a, parameters: {weight: 0.5}}
""",
    "multislerp-one": """
merge_method: multislerp
models: [{model: llama/a, parameters: {weight: 0.7}}]
""",
    "multislerp-one-fine-tune": """
merge_method: multislerp
base_model: llama/base
models: [{model: llama/a, parameters: {weight: 0.7}}]
""",
    "karcher": _three("karcher"),
    "karcher-base": _three("karcher", more="base_model: llama-tied/base"),
    "karcher-few-steps": _three("karcher", more="parameters: {max_iter: 1, tol: 1e-9}"),
    "karcher-no-step": _three("karcher", more="parameters: {max_iter: 0}"),
    "karcher-zero": _three("karcher", family="llama").replace("llama/b", "extreme/zero"),
    "karcher-one": """
merge_method: karcher
models: [{model: llama/a}]
""",
    "model-stock": _three("model_stock", more="base_model: llama-tied/base"),
    "model-stock-filter-wise": _three(
        "model_stock", more="base_model: llama-tied/base\nparameters: {filter_wise: true}"
    ),
    "model-stock-bf16-in-float32": _three(
        "model_stock", family="llama-bf16", more="base_model: llama-bf16/base\ndtype: float32"
    ),
    "model-stock-opposite": """
merge_method: model_stock
base_model: llama/base
models: [{model: llama/a}, {model: extreme/base-minus-update}]
""",
    "model-stock-same": """
merge_method: model_stock
base_model: llama/base
models: [{model: llama/a}, {model: extreme/same-as-a}]
""",
    "nearswap": """
merge_method: nearswap
base_model: llama/base
models: [{model: llama/a}]
parameters: {t: 0.005}
""",
    "nearswap-gradient": """
merge_method: nearswap
base_model: llama/base
models: [{model: llama/base}, {model: llama/b}]
parameters: {t: [0.0001, 0.02, -1]}
""",
    "nearswap-bf16-in-float32": """
merge_method: nearswap
base_model: llama-bf16/base
models: [{model: llama-bf16/a}]
parameters: {t: 0.005}
dtype: float32
""",
}


def of_llama(method, own, *models):
    """A recipe of a method for fine-tunes of llama/base, with parameters of its own and of each."""
    listed = "\n".join(
        f"- {{model: llama/{role}, parameters: {{{given}}}}}"
        for role, given in zip("abc", models, strict=False)
    )
    return f"""
merge_method: {method}
base_model: llama/base
models:
{listed}
parameters: {{{own}}}
"""


CRUMBS = ("weight: 0.7, density: 0.4, gamma: 0.05", "weight: 0.6, density: 0.9, gamma: 0.2")
MASKS = {
    f"{method}-{name}": of_llama(method, own, *models)
    for method in ("breadcrumbs", "breadcrumbs_ties")
    for name, own, models in (
        ("plain", "", CRUMBS),
        ("normalized", "normalize: true, lambda: 0.5", CRUMBS),
        ("rescaled", "rescale: true", CRUMBS),
        ("defaults", "", ("weight: 1", "weight: -0.3")),
        ("no-gamma", "", ("weight: 1, density: 0.5, gamma: 0", "weight: 1, density: 0.01")),
        ("density-0", "", ("weight: 1, density: 0", "weight: 0.5, density: 0.5")),
    )
} | {
    "sce": of_llama("sce", "", "", "", ""),
    "sce-select": of_llama("sce", "select_topk: 0.3", "", "", ""),
    "sce-select-few": of_llama("sce", "select_topk: 0.01", "", ""),
    "sce-select-none": of_llama("sce", "select_topk: 0", "", ""),
    "sce-one-model": of_llama("sce", "", ""),
    "sce-one-model-select": of_llama("sce", "select_topk: 0.5", ""),
    "ram": of_llama("ram", "", "", "", ""),
    "ram-epsilon": of_llama("ram", "epsilon: 0.01", "", "", ""),
    "ram-one-model": of_llama("ram", "epsilon: 0.01", ""),
    "ramplus-tl": of_llama("ramplus_tl", "", "", ""),
    "ramplus-tl-epsilon": of_llama("ramplus_tl", "epsilon: 0.015, r: 0.5, alpha: 0.4", "", "", ""),
    "ramplus-tl-strong": of_llama("ramplus_tl", "epsilon: 0.005, r: 2, alpha: 100", "", "", ""),
    "della-density-1": of_llama("della", "", "weight: 0.7, epsilon: 0", "weight: 0.3, epsilon: 0"),
    "della-linear-density-1": of_llama(
        "della_linear", "lambda: 0.5", "weight: 0.7, epsilon: 0", "weight: 0.3, epsilon: 0"
    ),
    "sce-equal-models": """
merge_method: sce
base_model: llama/base
models: [{model: llama/a}, {model: extreme/same-as-a}]
parameters: {select_topk: 0.5}
""",
    "sce-opposed-updates": """
merge_method: sce
base_model: llama/base
models: [{model: llama/a}, {model: extreme/base-minus-update}]
parameters: {select_topk: 0.5}
""",
    "ram-no-updates": """
merge_method: ramplus_tl
base_model: llama/a
models: [{model: extreme/same-as-a}, {model: llama/b}]
""",
    "arcee-no-updates": """
merge_method: arcee_fusion
base_model: llama/a
models: [{model: llama/a}, {model: extreme/same-as-a}]
""",
}

RECIPES = (
    LINEAR
    | SLERP
    | TASK_VECTORS
    | EXTREMES
    | PASSTHROUGH
    | DTYPES
    | OTHER_FAMILIES
    | SPHERICAL
    | MASKS
)

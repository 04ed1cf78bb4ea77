"""The classes of the sweep, and what each needs beside small sizes."""


def _names(text):
    return text.split()


USUAL = _names("""
LlamaForCausalLM MistralForCausalLM MixtralForCausalLM PhiForCausalLM Phi3ForCausalLM
PhimoeForCausalLM GPT2LMHeadModel GPTNeoXForCausalLM GPTBigCodeForCausalLM GPTJForCausalLM
OPTForCausalLM BloomForCausalLM MptForCausalLM FalconForCausalLM StableLmForCausalLM
Starcoder2ForCausalLM NemotronForCausalLM PersimmonForCausalLM CohereForCausalLM Cohere2ForCausalLM
OlmoForCausalLM Olmo2ForCausalLM OlmoeForCausalLM GraniteForCausalLM GraniteMoeForCausalLM
GlmForCausalLM Glm4ForCausalLM Glm4MoeForCausalLM DeepseekV2ForCausalLM DeepseekV3ForCausalLM
GptOssForCausalLM Llama4ForCausalLM SmolLM3ForCausalLM Exaone4ForCausalLM Ernie4_5_MoeForCausalLM
Qwen2ForCausalLM Qwen2MoeForCausalLM Qwen3ForCausalLM Qwen3MoeForCausalLM Qwen3NextForCausalLM
Qwen2VLForConditionalGeneration Qwen2_5_VLForConditionalGeneration Qwen3VLForConditionalGeneration
GemmaForCausalLM Gemma2ForCausalLM Gemma3ForCausalLM Gemma3ForConditionalGeneration
MambaForCausalLM FalconMambaForCausalLM JambaForCausalLM RecurrentGemmaForCausalLM Lfm2ForCausalLM
BertForMaskedLM BertForSequenceClassification RobertaForMaskedLM DistilBertForMaskedLM
AlbertForMaskedLM DebertaV2ForMaskedLM ModernBertForMaskedLM T5ForConditionalGeneration
T5EncoderModel BartForConditionalGeneration MarianMTModel WhisperForConditionalGeneration
T5GemmaForConditionalGeneration SwitchTransformersForConditionalGeneration
LlavaForConditionalGeneration PaliGemmaForConditionalGeneration Mistral3ForConditionalGeneration
ViTForImageClassification Dinov2Model CLIPModel CLIPTextModel SiglipModel
""")
RARER = _names("""
Qwen3VLMoeForConditionalGeneration CodeGenForCausalLM Olmo3ForCausalLM
GraniteMoeHybridForCausalLM BambaForCausalLM Ernie4_5ForCausalLM HunYuanDenseV1ForCausalLM
HeliumForCausalLM ArceeForCausalLM ApertusForCausalLM SeedOssForCausalLM BitNetForCausalLM
DiffLlamaForCausalLM XGLMForCausalLM XLMRobertaForMaskedLM ElectraForMaskedLM MPNetForMaskedLM
MT5ForConditionalGeneration UMT5ForConditionalGeneration MBartForConditionalGeneration
PegasusForConditionalGeneration M2M100ForConditionalGeneration LlavaNextForConditionalGeneration
MllamaForConditionalGeneration Idefics3ForConditionalGeneration SmolVLMForConditionalGeneration
InternVLForConditionalGeneration Qwen2AudioForConditionalGeneration BlipForConditionalGeneration
Blip2ForConditionalGeneration DeiTForImageClassification BeitForImageClassification
SwinForImageClassification ResNetForImageClassification Wav2Vec2ForCTC
""")
"""Left to `make slow`."""

_SPEECH = {"conv_dim": [16, 16], "conv_stride": [5, 2], "conv_kernel": [10, 3]}
_NEEDS = {
    "SwinForImageClassification": {
        "num_heads": [2, 4],
        "depths": [1, 2],
        "window_size": 2,
        "patch_size": 2,
        "embed_dim": 16,
    },
    "ResNetForImageClassification": {
        "embedding_size": 8,
        "hidden_sizes": [8, 16],
        "depths": [1, 2],
    },
    "Wav2Vec2ForCTC": _SPEECH | {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2},
}
"""Overrides of config keys, by class."""
VARIANTS = {name: (name, _NEEDS.get(name, {})) for name in USUAL} | {
    "llama with biases": ("LlamaForCausalLM", {"attention_bias": True, "mlp_bias": True}),
    "llama with tied weights": ("LlamaForCausalLM", {"tie_word_embeddings": True}),
    "qwen2 with tied weights": ("Qwen2ForCausalLM", {"tie_word_embeddings": True}),
    "qwen3 with biases": ("Qwen3ForCausalLM", {"attention_bias": True}),
    "falcon of the first kind": (
        "FalconForCausalLM",
        {"new_decoder_architecture": False, "multi_query": True, "bias": True},
    ),
    "stablelm with parallel residual": (
        "StableLmForCausalLM",
        {"use_parallel_residual": True, "use_qkv_bias": True, "qk_layernorm": True},
    ),
    "bloom in half precision": ("BloomForCausalLM", {"dtype": "float16"}),
    "llama in bfloat16": ("LlamaForCausalLM", {"dtype": "bfloat16"}),
}
"""What to build, by what it is called."""
SLOW_VARIANTS = {name: (name, _NEEDS.get(name, {})) for name in RARER}

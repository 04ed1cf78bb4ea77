"""Folders with the layout of diffusers and sentence-transformers, with a few small tensors."""

import json

import torch
from safetensors.torch import load_file, save_file

UNET = {
    "conv_in.weight": (4, 3),
    "down_blocks.0.attn.weight": (3, 3),
    "down_blocks.1.attn.bias": (),
}
TEXT = {
    "text_model.embeddings.token_embedding.weight": (8, 4),
    **{f"text_model.encoder.layers.{i}.mlp.fc1.weight": (4, 4) for i in range(3)},
    "text_model.final_layer_norm.weight": (4,),
}
VAE = {"encoder.conv_in.weight": (2, 2)}
PIPELINE = {
    "_class_name": "StableDiffusionPipeline",
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "PNDMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def random_tensors(shapes, seed):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def write_json(file, content):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))


def write_weights(file, tensors):
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, file, metadata={"format": "pt"})


def write_pipeline(root, seed, *, variant=""):
    """A diffusers folder: UNet in two shards, VAE, text encoder, scheduler, tokenizer."""
    tensors = {
        folder: random_tensors(shapes, seed + number)
        for number, (folder, shapes) in enumerate(
            {"text_encoder": TEXT, "unet": UNET, "vae": VAE}.items()
        )
    }
    write_json(root / "model_index.json", PIPELINE)
    stem = "diffusion_pytorch_model"
    names = list(UNET)
    files = [f"{stem}{variant}-0000{n}-of-00002.safetensors" for n in (1, 2)]
    weight_map = {name: files[number > 0] for number, name in enumerate(names)}
    for file in files:
        own = {name: tensors["unet"][name] for name in names if weight_map[name] == file}
        write_weights(root / "unet" / file, own)
    index = f"{stem}.safetensors.index{variant}.json"
    write_json(root / "unet" / index, {"metadata": {}, "weight_map": weight_map})
    write_weights(root / "vae" / f"{stem}{variant}.safetensors", tensors["vae"])
    write_weights(root / "text_encoder" / f"model{variant}.safetensors", tensors["text_encoder"])
    write_json(root / "unet" / "config.json", {"_class_name": "UNet2DConditionModel"})
    write_json(root / "vae" / "config.json", {"_class_name": "AutoencoderKL"})
    config = {"model_type": "clip_text_model", "num_hidden_layers": 3, "torch_dtype": "float32"}
    write_json(root / "text_encoder" / "config.json", config)
    write_json(root / "scheduler" / "scheduler_config.json", {"seed": seed})
    write_json(root / "tokenizer" / "vocab.json", {"a": 0})
    (root / "README.md").write_text("the model's own card")
    return {f"{folder}/{n}": x for folder, own in tensors.items() for n, x in own.items()}


def as_torch_files(root):
    """Put torch files in the place of all safetensors files, called as libraries call them."""

    def renamed(name):
        stem = name.removesuffix(".json").removesuffix(".index").removesuffix(".safetensors")
        torch_stem = f"pytorch_{stem}" if stem.startswith("model") else stem
        return name.replace(stem, torch_stem).replace(".safetensors", ".bin")

    for file in list(root.rglob("*.safetensors")):
        torch.save(load_file(file), file.with_name(renamed(file.name)))
        file.unlink()
    for file in list(root.rglob("*.index.json")):
        content = json.loads(file.read_text())
        files = {name: renamed(stored) for name, stored in content["weight_map"].items()}
        write_json(file.with_name(renamed(file.name)), {"weight_map": files})
        file.unlink()


SENTENCE = {
    "embeddings.word_embeddings.weight": (8, 4),
    "encoder.layer.0.output.dense.weight": (4, 4),
    "encoder.layer.1.output.dense.weight": (4, 4),
}


def write_sentence_model(root, seed):
    """A sentence-transformers folder: the transformer at the top, pooling, a dense layer."""
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Dense", "Dense")]
    listed = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(modules)
    ]
    top, dense = random_tensors(SENTENCE, seed), random_tensors({"linear.weight": (2, 4)}, seed + 9)
    write_json(root / "modules.json", listed)
    write_json(root / "config_sentence_transformers.json", {"prompts": {}})
    write_json(root / "sentence_bert_config.json", {"max_seq_length": 16})
    write_json(root / "config.json", {"model_type": "bert", "num_hidden_layers": 2})
    write_json(root / "tokenizer.json", {})
    write_json(root / "1_Pooling" / "config.json", {"pooling_mode_mean_tokens": True})
    write_json(root / "2_Dense" / "config.json", {"in_features": 4, "out_features": 2})
    write_weights(root / "model.safetensors", top)
    write_weights(root / "2_Dense" / "model.safetensors", dense)
    return top | {f"2_Dense/{name}": x for name, x in dense.items()}


def all_files(root):
    return {file.relative_to(root).as_posix() for file in root.rglob("*") if file.is_file()}

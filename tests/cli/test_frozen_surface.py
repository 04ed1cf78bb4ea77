"""What users type. A change here is a decision: old recipes and scripts must go on working."""

import re

import pytest
import typer

from graphmerge.cli.app import app
from graphmerge.errors import InputError
from graphmerge.methods.registry import BUILT_IN
from graphmerge.recipe.parse import parse_recipe

PLANNING = {
    "--memory-budget", "--workers", "--num-threads", "-j", "--seed", "--random-seed",
    "--out-shard-size", "--device", "--gpu-memory-budget", "--tile-elements", "--kernels",
    "--plugin",
}  # fmt: skip
RUNNING = {
    "--overwrite", "--durable", "--strict", "--quiet", "-q", "--cuda", "--gpu-rich",
    "--copy-tokenizer", "--write-model-card", "--unsafe-truncate-embeddings",
}  # fmt: skip
WITHOUT_EFFECT = {
    "--allow-crimes", "--trust-remote-code", "--lazy-unpickle", "--low-cpu-memory", "--read-to-gpu",
    "--multi-gpu", "--async-write", "--write-threads", "--clone-tensors", "--safe-serialization",
    "--lora-merge-cache", "--lora-merge-dtype", "--transformers-cache", "--verbose", "-v",
}  # fmt: skip
"""What mergekit-yaml has and `run` accepts."""
COMMANDS = {
    "plan": {"recipe", "--dry-run", "--explain", "--verbose", "-v", "--json"} | PLANNING,
    "run": {"recipe", "out"} | RUNNING | WITHOUT_EFFECT | PLANNING,
    "verify": {"out"},
    "push": {"out", "repository", "--private", "--revision", "--message"},
    "show": {"recipe", "--dot", "--svg", "--json", "--plugin"},
    "validate": {"recipe", "--plugin"},
    "inspect": {"checkpoint", "--json", "--plugin"},
    "extract-lora": {
        "model", "base", "out", "--rank", "--modules", "--memory-budget", "--overwrite",
        "--write-model-card",
    },
    "merge-lora": {
        "out", "adapters", "--method", "--weight", "--rank", "--overwrite", "--write-model-card",
    },
    "methods": {"name", "--plugin"},
    "plugins": set(),
    "calibrate": {"--executor", "--workers"},
}  # fmt: skip
KEYS = {
    "zzz: 1": "merge_method, models, slices, modules, base_model, dtype, out_dtype, tokenizer, "
    "tokenizer_source, embeddings, chat_template, parameters",
    "models: [{model: a, zzz: 1}]": "model, layer_range, statistics, parameters",
    "slices: [{sources: [], zzz: 1}]": "sources, base_model, parameters, residual_weight",
    "slices: [{sources: [{model: a, layer_range: [0, 1], zzz: 1}]}]": "model, layer_range, "
    "statistics, parameters",
    "modules: {a: {models: [], zzz: 1}}": "models, slices, parameters",
    "tokenizer: {zzz: 1}": "source, tokens, pad_to_multiple_of",
}
"""Recipes with one unknown key, and the keys that are known in its place."""


def test_commands_and_flags():
    group = typer.main.get_command(app)
    found = {
        name: {
            word
            for parameter in command.params
            for word in (
                parameter.opts if parameter.param_type_name == "option" else [parameter.name]
            )
        }
        for name in group.list_commands(None)
        for command in [group.get_command(None, name)]
    }
    assert found == COMMANDS


def test_methods():
    assert list(BUILT_IN) == [
        "linear", "geometric_median", "ema", "wsm",
        "slerp", "nuslerp", "multislerp", "karcher", "nearswap",
        "task_arithmetic", "ties", "dare_linear", "dare_ties", "della", "della_linear",
        "breadcrumbs", "breadcrumbs_ties", "sce", "ram", "ramplus_tl", "consensus_ta",
        "magmax", "pcb", "cabs", "arcee_fusion", "model_stock", "metagpt", "nan",
        "localize_and_stitch", "emr", "emr_masks", "emr_restore", "lines", "expo",
        "train_difference", "add_perpendicular", "passthrough",
        "star", "tsv_m", "iso_c", "iso_cts", "wudi", "actmat", "cart", "fisher", "regmean",
    ]  # fmt: skip


@pytest.mark.parametrize("text", KEYS)
def test_recipe_keys(text):
    with pytest.raises(InputError, match="unknown key 'zzz'") as error:
        parse_recipe(f"merge_method: linear\n{text}\n")
    line = next(line for line in str(error.value).splitlines() if "unknown key 'zzz'" in line)
    known = re.search(r"wanted one of ([^()]*)", line)[1].strip()
    assert sorted(known.split(", ")) == sorted(KEYS[text].split(", "))

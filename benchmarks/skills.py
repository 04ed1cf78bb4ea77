"""What merging keeps of three skills of a small language model, trained here in a minute.

Run: .venv/bin/python benchmarks/skills.py --seeds 0 1 2

The base reads text in which a prompt is at first answered every second time, then every twentieth:
it has the skills, and does not show them. A fine-tune is shown one of them for a few steps.
"""

import argparse
import copy
import itertools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from skill_tasks import CHARACTERS, PROMPT, SKILLS, Skill, lines, mixed
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils.logging import disable_progress_bar

from graphmerge.testing.merging import merge

BATCH, WARM_UP = 64, 20
SHOWN, HIDDEN = (900, 3e-3, 0.5), (80, 1e-3, 0.05)
"""The base's text: steps, learning rate, share of prompts that are answered."""
TUNING = (40, 3e-4)
"""Steps and learning rate of a fine-tune."""
PROMPTS = 500
"""Prompts that an accuracy is measured over, with words that no text had."""
NAMES = tuple(skill.name for skill in SKILLS)
METHODS = {
    "average": {"merge_method": "linear"},
    "task arithmetic": {"merge_method": "task_arithmetic", "parameters": {"lambda": 0.7}},
    "ties": {"merge_method": "ties", "parameters": {"density": 0.5, "lambda": 1.2}},
}
"""The lambdas were chosen among a few by seed 0; other seeds have no say in them."""


def encoded(texts: list[str]) -> torch.Tensor:
    """Texts of one length as numbers of characters."""
    return torch.tensor([[CHARACTERS.index(character) for character in text] for text in texts])


def new_model(seed: int) -> LlamaForCausalLM:
    """A Llama of 165,000 random parameters."""
    config = LlamaConfig(
        vocab_size=len(CHARACTERS),
        hidden_size=64,
        intermediate_size=192,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=32,
        bos_token_id=None,
        eos_token_id=CHARACTERS.index("\n"),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def train(model: LlamaForCausalLM, text: Iterator[str], steps: int, rate: float) -> None:
    """Teach a model to write the answers; the learning rate rises, stays, and falls to zero."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0)
    warm_up = min(WARM_UP, steps // 8)
    for step in range(steps):
        factor = min(1, (step + 1) / warm_up, 2 * (steps - step) / steps)
        optimizer.param_groups[0]["lr"] = rate * factor
        tokens = encoded(list(itertools.islice(text, BATCH)))
        logits = model(tokens).logits[:, PROMPT - 1 : -1]
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, PROMPT:].flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


def base_model(seed: int) -> LlamaForCausalLM:
    """A model that has every skill and shows none."""
    model = new_model(seed)
    for stage, (steps, rate, share) in enumerate((SHOWN, HIDDEN)):
        streams = [lines(skill, seed=10 * seed + stage, share=share) for skill in SKILLS]
        train(model, mixed(streams, seed=seed), steps, rate)
    return model


def fine_tune(base: LlamaForCausalLM, skill: Skill, seed: int) -> LlamaForCausalLM:
    """A copy of the base that shows one skill."""
    model = copy.deepcopy(base)
    train(model, lines(skill, seed=10 * seed + 2), *TUNING)
    return model


def recipe(folder: Path, method: dict[str, Any]) -> dict[str, Any]:
    """The fine-tunes in a folder, merged with weight 1 each."""
    models = [{"model": str(folder / name), "parameters": {"weight": 1}} for name in NAMES]
    base = {} if method["merge_method"] == "linear" else {"base_model": str(folder / "base")}
    return {**method, **base, "models": models}


@torch.inference_mode()
def accuracy(model: LlamaForCausalLM, skill: Skill) -> float:
    """Share of prompts whose whole answer is right, each character the likeliest one."""
    tokens = encoded(list(itertools.islice(lines(skill, seed=0, held_out=True), PROMPTS)))
    written = model(tokens).logits[:, PROMPT - 1 : -1].argmax(-1)
    return (written == tokens[:, PROMPT:]).all(1).float().mean().item()


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums in the same order on any machine with the same kernels."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def measure(folder: Path, seed: int) -> dict[str, dict[str, float]]:
    """Train, write, merge, read: accuracies of every model, skill by skill."""
    with one_thread():
        base = base_model(seed)
        models = {"base": base} | {s.name: fine_tune(base, s, seed) for s in SKILLS}
        for name, model in models.items():
            model.save_pretrained(folder / name)
        for name, method in METHODS.items():
            out = merge(recipe(folder, method), folder / f"merged by {name}").out
            models[name] = LlamaForCausalLM.from_pretrained(out)
        return {
            name: {skill.name: accuracy(model, skill) for skill in SKILLS}
            for name, model in models.items()
        }


def main() -> None:
    """Print a table for every seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    disable_progress_bar()
    for seed in parser.parse_args().seeds:
        with tempfile.TemporaryDirectory() as folder:
            table = measure(Path(folder), seed)
        print(f"\nseed {seed}\n\n| model | {' | '.join(NAMES)} |\n|---|{'---|' * len(NAMES)}")
        for name, row in table.items():
            print(f"| {name} | {' | '.join(f'{row[skill]:.1%}' for skill in NAMES)} |", flush=True)


if __name__ == "__main__":
    main()

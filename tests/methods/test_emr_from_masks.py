"""EMR-Merging from what is kept of it: one unified model, masks and factors of tasks."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import reference_whole_model as whole
import torch
import yaml
from typer.testing import CliRunner

import graphmerge as gm
from graphmerge.checkpoint.reading import read_checkpoint
from graphmerge.cli.app import app
from graphmerge.errors import GraphmergeError
from graphmerge.ops.blocks import BLOCK_ELEMENTS
from graphmerge.ops.task_masks import MOST_TASKS, mask_dtype
from graphmerge.pipeline import RunOptions, run
from graphmerge.schedule.executors import Kernels
from graphmerge.spec import DType
from graphmerge.testing.merging import Silent, StopAfter, compile_mapping, merge, plan_for
from graphmerge.testing.stored_models import read_model, same_bytes, weights_digest, write_model

SHAPES = {
    "layers.0.matrix": (30, 70),
    "long": (BLOCK_ELEMENTS + 3,),
    "norm": (),
    "norm.signed": (40,),
    "none": (0, 3),
}
TASKS = 3
WIDTHS = {3: torch.uint8, 9: torch.uint16, 64: torch.uint64}
"""Dtypes of masks by the number of tasks."""


def drawn(seed, dtype):
    """A model's tensors: numbers of many sizes, integers, and a tensor that all models share."""
    generator = torch.Generator().manual_seed(seed)
    own = {name: torch.randn(shape, generator=generator) ** 3 for name, shape in SHAPES.items()}
    shared = {"frozen": torch.linspace(-2, 2, 50), "zeros": torch.tensor([0.0, -0.0])}
    floats = {name: x.to(dtype) for name, x in (own | shared).items()}
    return floats | {"ids": torch.arange(5), "kept.wide": torch.ones(3, dtype=torch.float64)}


def write_models(tasks, dtype=torch.float32):
    """A base and fine-tunes in the working directory; a tensor of the base has nothing but -0."""
    base = drawn(0, dtype)
    base["norm.signed"] = torch.full_like(base["norm.signed"], -0.0)
    write_model_of("base", base)
    for task in range(tasks):
        change = drawn(task + 1, torch.float32)
        tuned = {name: (x + 0.1 * change[name]).to(x.dtype) for name, x in base.items()}
        keep = {name: base[name] for name in ("frozen", "zeros", "ids", "kept.wide")}
        write_model_of(f"m{task}", tuned | keep)


def write_model_of(name, tensors, config=None):
    write_model(Path(name), tensors, config=config)


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A working directory with a base and three fine-tunes of it."""
    monkeypatch.chdir(tmp_path)
    write_models(TASKS)
    return tmp_path


def recipe(method, tasks=TASKS, **own):
    models = [{"model": f"m{task}"} for task in range(tasks)]
    return {
        "merge_method": method,
        "base_model": "base",
        "models": models,
        "parameters": own,
    }


def restoring(task, unified="unified", masks="masks", **own):
    return {
        "merge_method": "emr_restore",
        "base_model": "base",
        "models": [{"model": unified, "statistics": masks}],
        "parameters": {"task": task, **own},
    }


def write_kept(folder, tasks=TASKS):
    """The unified model and the masks, and what the run that wrote them was."""
    merge(recipe("emr", tasks), folder / "unified")
    return merge(recipe("emr_masks", tasks), folder / "masks")


@pytest.mark.parametrize(
    ("dtype", "tasks"),
    [
        *((torch.float32, tasks) for tasks in WIDTHS),
        *((dtype, TASKS) for dtype in (torch.bfloat16, torch.float16, torch.float64)),
    ],
    ids=str,
)
def test_what_is_restored_is_the_model_of_the_task_bit_for_bit(dtype, tasks, tmp_path, monkeypatch):
    """Of the unified model nothing is lost in a file: each entry is that of some fine-tune."""
    monkeypatch.chdir(tmp_path)
    write_models(tasks, dtype)
    kept = write_kept(tmp_path, tasks).tensors()
    assert {kept[name].dtype for name in SHAPES} == {WIDTHS[tasks]}
    for task in {0, tasks // 2, tasks - 1}:
        want = merge(recipe("emr", tasks, task=task), tmp_path / f"want{task}").tensors()
        found = merge(restoring(task), tmp_path / f"found{task}").tensors()
        assert found.keys() == want.keys()
        assert [name for name, x in found.items() if not same_bytes(x, want[name])] == []


def test_a_difference_that_float32_cannot_hold_may_be_one_rounding_off(tmp_path, monkeypatch):
    """1 + u less u / 2 lies midway, and so does the way back: 1 is kept, not the task vector."""
    monkeypatch.chdir(tmp_path)
    ulp = 2.0**-23
    for name, value in (("base", ulp / 2), ("m0", 1 + ulp), ("m1", 1 + ulp)):
        write_model_of(name, {"x": torch.tensor([value])})
    write_kept(tmp_path, 2)
    half = {"lambda": 0.5}
    want = merge(recipe("emr", 2, task=0, **half), tmp_path / "want").tensors()["x"].double()
    found = merge(restoring(0, **half), tmp_path / "found").tensors()["x"].double()
    assert 0 < abs(float(found - want)) <= ulp


def test_masks_are_as_wide_as_tasks_need():
    wide = {8: DType.U8, 9: DType.U16, 16: DType.U16, 17: DType.U32, 32: DType.U32, 33: DType.U64}
    assert {tasks: mask_dtype(tasks) for tasks in wide} == wide
    assert (mask_dtype(1), mask_dtype(MOST_TASKS)) == (DType.U8, DType.U64)


def test_masks_and_factors_are_those_of_the_paper(models):
    kept = write_kept(models).tensors()
    names = [name for name in kept if name != "emr.rescalers"]
    base, *tuned = (read_model(models / name) for name in ("base", "m0", "m1", "m2"))
    deltas = [{n: (x[n] - base[n]).double().numpy() for n in names} for x in tuned]
    for name in names:
        bits = whole.agreement_bits([delta[name] for delta in deltas])
        assert np.array_equal(kept[name].numpy(), bits.astype(np.uint8)), name
    factors = [whole.emr_factor(deltas, task) for task in range(TASKS)]
    np.testing.assert_allclose(kept["emr.rescalers"].numpy(), factors, rtol=1e-12)


def test_a_mask_takes_a_byte_for_each_entry_and_integers_have_none(models):
    written = write_kept(models)
    assert written.tensors().keys() == {*SHAPES, "frozen", "zeros", "kept.wide", "emr.rescalers"}
    entries = read_checkpoint(models / "masks").tensors
    assert all(
        entry.spec.nbytes == math.prod(entry.spec.shape)
        for name, entry in entries.items()
        if name != "emr.rescalers"
    )
    assert not written.tensors()["frozen"].any()
    assert same_bytes(
        merge(restoring(0), models / "out").tensors()["ids"], read_model(models / "base")["ids"]
    )
    assert any(one.name == "ids" for one in written.plan.graph.omissions)


def test_the_output_does_not_pretend_to_be_a_model(models):
    """Not even where a model would get a config, as its head is tied no more."""
    config = {"model_type": "llama", "num_hidden_layers": 1, "tie_word_embeddings": True}
    for name in ("base", "m0", "m1", "m2"):
        embedding = {"model.embed_tokens.weight": torch.ones(6, 4) * (name != "base")}
        head = {"lm_head.weight": -torch.ones(6, 4)} if name == "m0" else {}
        write_model_of(name, read_model(models / name) | embedding | head, config=config)
    (models / "base" / "tokenizer.json").write_text("{}")
    out = write_kept(models).out
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md",
        "graphmerge.json",
        "graphmerge_recipe.yml",
        "model.safetensors",
    ]
    card = (out / "README.md").read_text()
    assert "This is no model that can be loaded. It was made with graphmerge by" in card
    assert "from_pretrained" not in card
    assert "base_model_relation" not in card
    assert "library_name" not in card


def test_neither_tiles_workers_budget_nor_kernels_change_a_byte(models):
    """The factors among them, which no tile makes."""
    digests = set()
    for number, limits in enumerate((
        {"budget_bytes": None, "workers": 1, "tile_elements": BLOCK_ELEMENTS},
        {"workers": 3, "tile_elements": 4 * BLOCK_ELEMENTS},
        {"kernels": Kernels.TORCH},
    )):  # fmt: skip
        merge(recipe("emr_masks"), models / f"masks{number}", **limits)
        merge(recipe("emr"), models / "unified", options=RunOptions(overwrite=True), **limits)
        content = restoring(1, masks=f"masks{number}")
        merge(content, models / f"restored{number}", **limits)
        digests.add(tuple(weights_digest(models / f"{x}{number}") for x in ("masks", "restored")))
    assert len(digests) == 1


@pytest.mark.parametrize("finished", [1, 4, 7])
def test_an_interrupted_run_goes_on_to_the_same_bytes(finished, models):
    """Wherever it was stopped, before or after the factors were written."""
    whole_run = write_kept(models)
    compiled = compile_mapping(recipe("emr_masks"), models / "again.yml")
    plan, out = plan_for(compiled, tile_elements=BLOCK_ELEMENTS), models / "again"
    with pytest.raises(KeyboardInterrupt):
        run(compiled, plan, out, RunOptions(), StopAfter(finished))
    report = run(compiled, plan, out, RunOptions(), Silent())
    assert report.continued_tensors >= finished
    assert weights_digest(out) == weights_digest(whole_run.out)


def test_one_recipe_may_have_all_three_steps(models):
    """What is between them is not written: masks and factors go from graph to graph."""
    graph = {
        "unified": recipe("emr"),
        "masks": recipe("emr_masks"),
        "task": restoring(2, **{"lambda": 0.5}),
    }
    found = merge({"graph": graph, "output": "task"}, models / "out").tensors()
    want = merge(recipe("emr", task=2, **{"lambda": 0.5}), models / "want").tensors()
    assert [name for name, x in found.items() if not same_bytes(x, want[name])] == []


def test_python_says_the_same_as_recipes(models):
    kept = write_kept(models).tensors()
    masks = gm.merge("emr_masks", ["m0", "m1", "m2"], base="base")
    assert same_bytes(masks.tensor("emr.rescalers"), kept["emr.rescalers"])
    assert same_bytes(masks.tensor("long"), kept["long"])
    restored = gm.merge("emr_restore", ["unified"], base="base", statistics=["masks"], task=1)
    want = merge(restoring(1), models / "want").tensors()
    for expression in (restored, gm.from_recipe(gm.to_recipe(restored))):
        assert same_bytes(expression.tensor("long"), want["long"])
    with pytest.raises(GraphmergeError, match="is no model"):
        masks.cast("float32")


def test_from_files_to_a_restored_model_on_the_command_line(models):
    steps = {
        "unified": recipe("emr"),
        "masks": recipe("emr_masks"),
        "restored": restoring(1),
        "wanted": recipe("emr", task=1),
    }
    for name, content in steps.items():
        (models / f"{name}.yml").write_text(yaml.safe_dump(content))
        for words in (["run", f"{name}.yml", name, "--memory-budget", "1GiB"], ["verify", name]):
            done = CliRunner().invoke(app, words)
            assert done.exit_code == 0, done.output
    assert weights_digest(models / "restored") == weights_digest(models / "wanted")
    manifest = json.loads((models / "restored" / "graphmerge.json").read_text())
    assert sorted(one["reference"] for one in manifest["inputs"]) == ["base", "masks", "unified"]


def refused(models, content):
    with pytest.raises(GraphmergeError) as error:
        merge(content, models / "refused")
    assert not (models / "refused").exists()
    return str(error.value)


def changed(models, **changes):
    """Masks with other tensors; None leaves one out."""
    tensors = read_model(models / "masks") | {n.replace("_", "."): x for n, x in changes.items()}
    write_model(models / "changed", {name: x for name, x in tensors.items() if x is not None})
    return restoring(0, masks="changed")


def averaging(key, *names):
    models = [{"model": name, "layer_range": [0, 1]} for name in names]
    listed = models if key == "models" else [{"sources": models}]
    return {"merge_method": "linear", "tokenizer": {"source": "base"}, key: listed}


def test_what_does_not_fit_together_is_refused(models):
    write_kept(models)
    assert "unknown task @ tensor" in (text := refused(models, restoring(3)))
    assert "got 3; wanted 0 to 2" in text
    assert "got -1; wanted 0 to 2" in refused(models, restoring(-1))
    assert "changed has no tensor emr.rescalers" in refused(
        models, changed(models, emr_rescalers=None)
    )
    assert "masks are not those of the 9 tasks that emr.rescalers has" in refused(
        models, changed(models, emr_rescalers=torch.ones(9))
    )
    assert "emr.rescalers is no list" in refused(
        models, changed(models, emr_rescalers=torch.ones(2, 2))
    )
    assert "changed has no statistics of norm" in refused(models, changed(models, norm=None))
    floats = refused(models, changed(models, norm=torch.ones(())))
    assert "statistics of norm are no masks" in floats
    assert "got F32; wanted U8, U16, U32 or U64" in floats
    without = restoring(0)
    del without["models"][0]["statistics"]
    assert "a checkpoint with masks that emr_masks has written" in refused(models, without)
    listed = restoring(0)
    listed["models"].append({"model": "base", "statistics": "masks"})
    assert "emr_restore takes no statistics of the base model" in refused(models, listed)


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (restoring(0, unified="masks"), "$.models[0]"),
        (averaging("models", "m0", "masks"), "$.models[1]"),
        (recipe("task_arithmetic") | {"base_model": "masks"}, "$.base_model"),
        (averaging("slices", "m0", "masks"), "$.slices[0].sources[1]"),
    ],
    ids=["restored", "listed", "base", "sliced"],
)
def test_written_masks_are_no_model(content, where, models):
    """And that is said before anything of their tensors or tokenizers."""
    write_kept(models)
    text = refused(models, content)
    assert f"masks is no model @ {where}: got masks and factors of tasks" in text
    assert "use them with emr_restore: name them under statistics:" in text
    assert len(text.splitlines()) == 1


def test_written_masks_can_be_looked_at(models):
    kept = write_kept(models).tensors()
    written = gm.load("masks")
    assert same_bytes(written.tensor("long"), kept["long"])
    assert same_bytes(written.tensor("emr.rescalers"), kept["emr.rescalers"])
    with pytest.raises(GraphmergeError, match=r"masks is no model @ .*, in masks - m0"):
        written - gm.load("m0")


def test_what_cannot_be_masked_is_refused(models):
    assert "emr_masks has dtypes of its own @ $.out_dtype: got bfloat16" in refused(
        models, recipe("emr_masks") | {"out_dtype": "bfloat16"}
    )
    graph = {"masks": recipe("emr_masks"), "out": recipe("linear") | {"base_model": "masks"}}
    assert "masks is no model" in refused(models, {"graph": graph, "output": "out"})
    many = recipe("emr_masks") | {"models": [{"model": f"m{i % TASKS}"} for i in range(65)]}
    assert "wrong number of models for emr_masks" in refused(models, many)
    for name in ("base", "m0", "m1", "m2"):
        write_model(models / name, {"ids": torch.arange(5)})
    assert "no tensor to take masks of" in refused(models, recipe("emr_masks"))

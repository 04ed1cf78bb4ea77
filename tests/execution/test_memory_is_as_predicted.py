"""Fresh processes take what was predicted, and predictions are within the budget."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from attrs import evolve, frozen
from safetensors.torch import save_file

from graphmerge import calibration
from graphmerge.checkpoint.reading import read_checkpoint
from graphmerge.machine import cache_folder
from graphmerge.pipeline import compile_recipe
from graphmerge.schedule.executors import Executor, Kernels
from graphmerge.testing.adapters import write_adapter
from graphmerge.testing.checkpoints import write_base, write_fine_tune
from graphmerge.testing.llama_shapes import LLAMA_0_1B, LlamaShape
from graphmerge.testing.merging import plan_for
from graphmerge.testing.scaled_checkpoints import write_block_scaled
from graphmerge.testing.stored_models import weights_digest, write_model, write_torch_copy
from graphmerge.units import GIB, MIB

sys.path.append(str(Path(__file__).parents[1] / "methods"))

from data_statistics import FISHERS, MASKS, RESCALERS, folder_of
from table import ONE_EACH, TABLE

SCRIPT = Path(__file__).with_name("measured_merge.py")
SMALL = LlamaShape(2, 512, 1024, vocabulary=32_000, heads=8, kv_heads=8, tied=True)
"""40 million parameters, the embedding most of them."""
ROWS = (*ONE_EACH, *(row for row in TABLE if str(row) in ("ties-model", "nan-model", "emr-task")))
QUICK = ("linear", "slerp", "della", "arcee_fusion", "tsv_m", "emr")
"""One method of each kind, in native code and not."""
LIMITS = {"tight": (None, 3), "1GiB-1": (GIB, 1), "1GiB-3": (GIB, 3)}
"""Budget and most workers. The least budget has room for one worker, however many may be had; what
two of them take is on the line through one and three."""
ON_MATRICES = ("star", "tsv_m", "iso_c", "iso_cts", "wudi", "actmat", "cart", "regmean")
"""Methods that factorise or solve each matrix by itself, which takes a second or more each."""
LARGE_ROWS = LlamaShape(1, 1024, 1024, vocabulary=160_000, heads=8, kv_heads=8, tied=True)
"""An embedding of 312 MiB in bf16."""


@pytest.fixture(scope="module", autouse=True)
def reserved(tmp_path_factory):
    """Calibrate this very code: a cache may be of another state of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield calibration.calibrated


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return write_models(tmp_path_factory.mktemp("models"), LLAMA_0_1B)


@pytest.fixture(scope="module")
def shallow_models(tmp_path_factory):
    """Two of the layers: the largest tensors are the same, and every worker has several."""
    return write_models(tmp_path_factory.mktemp("shallow"), evolve(LLAMA_0_1B, layers=2))


@pytest.fixture(scope="module")
def small_models(tmp_path_factory):
    return write_models(tmp_path_factory.mktemp("small"), SMALL)


def write_models(root, shape):
    write_base(root / "base", shape, seed=0)
    for number in (1, 2):
        write_fine_tune(root / f"tuned{number}", root / "base", seed=number, scale=0.01)
    return root


def recipe(method):
    if method == "slerp":
        return {
            "merge_method": "slerp",
            "base_model": "base",
            "models": [{"model": "tuned1"}],
            "parameters": {"t": 0.3},
        }
    models = [
        {"model": f"tuned{number}", "parameters": {"weight": 0.5, "density": 0.5}}
        for number in (1, 2)
    ]
    if method == "linear":
        for model in models:
            del model["parameters"]["density"]
        return {"merge_method": "linear", "models": models}
    return {"merge_method": method, "base_model": "base", "models": models}


def of_row(models, row):
    """The recipe of a row of the table of methods, over the models that there are."""
    labels = ["base", "tuned1", "tuned2"][: row.counts[-1]]
    for label in labels if row.statistics else ():
        write_statistics(models, label, row.statistics)
    return row.recipe(labels)


def write_statistics(root, label, kind):
    """Statistics of a model, whatever their values: the model itself, unit matrices, or ones."""
    folder = root / folder_of(label, kind)
    if folder.exists():
        return
    if kind == FISHERS:
        folder.symlink_to(root / label, target_is_directory=True)
        return
    entries = read_checkpoint(root / label).tensors.items()
    if kind == MASKS:
        masks = {name: torch.ones(x.spec.shape, dtype=torch.uint8) for name, x in entries}
        write_model(folder, masks | {"emr.rescalers": RESCALERS})
        return
    columns = {name: entry.spec.shape[1] for name, entry in entries if "proj" in name}
    write_model(folder, {name: torch.eye(count) for name, count in columns.items()})


def measured(*arguments, **options):
    """Measured peak, predicted peak and budget of a merge in a process of its own."""
    out, *found = run_measured(*arguments, **options)
    shutil.rmtree(out)  # all of them together would fill a disk
    return found


def run_measured(
    models, method, budget, workers, reserved, *, waste=0, kernels=Kernels.AUTO, compiles=True
):
    """The same, after the folder of the output, of the first process that makes its native code.

    Plans count for that one, which LLVM takes 30 MiB in. With `compiles` false it may be a later.
    """
    if compiles:
        shutil.rmtree(cache_folder() / "native", ignore_errors=True)
    path = models / f"{method}.yml"
    path.write_text(
        yaml.safe_dump(recipe(method) if isinstance(method, str) else of_row(models, method))
    )
    limits = {"workers": workers, "reserved_for": reserved, "kernels": kernels}
    budget = plan_for(compile_recipe(path), budget_bytes=budget, **limits).request.budget_bytes
    out = models / f"{method}-{budget}-{workers}-{waste}-{kernels.value}"
    options = ["--memory-budget", f"{budget}", "--workers", f"{workers}", "--quiet"]
    options += ["--kernels", kernels.value]
    command = [sys.executable, str(SCRIPT), str(waste), "run", str(path), str(out), *options]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    peak = int(result.stderr.split("VmHWM ")[1])
    predicted = json.loads((out / "graphmerge.json").read_text())["predicted_peak_bytes"]
    return out, peak, predicted, budget


def test_a_later_process_takes_less(small_models, reserved):
    """It finds native code in the cache."""
    _, first, predicted, _ = run_measured(small_models, "ties", None, 1, reserved)
    shutil.rmtree(next(small_models.glob("ties-*/")))
    _, later, again, _ = run_measured(small_models, "ties", None, 1, reserved, compiles=False)
    assert again == predicted
    assert later < first - 10 * MIB


def test_a_tight_ties_takes_what_was_predicted(models, reserved):
    peak, predicted, budget = measured(models, "ties", None, 1, reserved)
    assert peak <= predicted <= budget
    assert predicted < 500 * MIB, "models of 192 MiB each"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_generous_dare_ties_takes_what_was_predicted(models, reserved, workers):
    peak, predicted, budget = measured(models, "dare_ties", GIB, workers, reserved)
    assert peak <= predicted <= budget
    assert peak >= 0.7 * predicted


@pytest.mark.parametrize("row", [row for row in ROWS if row.method in QUICK], ids=str)
def test_methods_of_each_kind_take_at_most_what_was_predicted(small_models, reserved, row):
    peak, predicted, budget = measured(small_models, row, None, 1, reserved)
    assert peak <= predicted <= budget


@pytest.mark.slow  # a process each
@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("row", ROWS, ids=str)
@pytest.mark.parametrize("kernels", [Kernels.AUTO, Kernels.TORCH])
def test_every_method_takes_what_was_predicted(request, reserved, row, limits, kernels):
    shape = "shallow_models" if row.method in ON_MATRICES else "models"
    models = request.getfixturevalue(shape)
    peak, predicted, budget = measured(models, row, *LIMITS[limits], reserved, kernels=kernels)
    assert peak <= predicted <= budget
    assert peak >= 0.7 * predicted


@pytest.mark.parametrize("kernels", [Kernels.AUTO, Kernels.TORCH])
def test_a_kernel_that_takes_more_than_its_op_declares_is_seen(models, reserved, kernels):
    """The test of the tests above."""
    waste = 64 * MIB
    peak, predicted, _ = measured(models, "ties", None, 1, reserved, waste=waste, kernels=kernels)
    assert peak > predicted


@pytest.mark.slow  # writes 1.5 GiB
@pytest.mark.parametrize("method", ["slerp", "ties"])
def test_a_tensor_larger_than_the_budget_is_merged_within_it(
    tmp_path_factory, method, reserved, request
):
    root = tmp_path_factory.mktemp("large")
    write_models(root, LARGE_ROWS)
    peak, predicted, budget = measured(root, method, None, 1, reserved)
    known = reserved(Executor.NATIVE)
    rest = budget - known.base_bytes - known.worker_bytes
    assert rest < 40 * MIB
    assert peak <= predicted <= budget


MANY_ROWS = LlamaShape(1, 256, 512, vocabulary=32_000, heads=4, kv_heads=4, tied=True)
"""An embedding of 16 MiB, less than its tokenizer takes while it is read."""


@frozen
class Union:
    """Three vocabularies merged token by token, as a row of the table of methods would give it."""

    counts = (3,)
    statistics = ""

    def __str__(self):
        return "union"

    def recipe(self, labels):
        listed = [{"model": name, "parameters": {"weight": 1}} for name in labels]
        section = {"source": "union", "pad_to_multiple_of": 64}
        return {"merge_method": "linear", "models": listed, "tokenizer": section}


@pytest.fixture(scope="module")
def vocabularies(tmp_path_factory):
    """Three models whose tokenizers share two thirds of their tokens, 3 MB of JSON each."""
    root = tmp_path_factory.mktemp("vocabularies")
    write_models(root, MANY_ROWS)
    for number, name in enumerate(("base", "tuned1", "tuned2")):
        first = number * 5000
        tokens = {f"token{i}": i - first for i in range(first, first + MANY_ROWS.vocabulary)}
        merges = [["token", f"{i}"] for i in range(first, first + 2 * MANY_ROWS.vocabulary)]
        model = {"type": "BPE", "vocab": tokens, "merges": merges}
        text = json.dumps({"added_tokens": [], "model": model})
        (root / name / "tokenizer.json").write_text(text)
    return root


def test_a_union_of_vocabularies_takes_what_was_predicted(vocabularies, reserved):
    """Reading and writing tokenizers is part of it; no byte depends on the limits."""
    outputs = []
    for budget, workers, kernels in ((None, 1, Kernels.AUTO), (GIB, 2, Kernels.TORCH)):
        limits = (budget, workers, reserved)
        out, *found = run_measured(vocabularies, Union(), *limits, kernels=kernels)
        peak, predicted, limit = found
        assert 0.7 * predicted <= peak <= predicted <= limit
        outputs.append(out)
    assert len({weights_digest(out) for out in outputs}) == 1
    assert len({(out / "tokenizer.json").read_bytes() for out in outputs}) == 1
    assert len(json.loads((outputs[0] / "tokenizer.json").read_text())["model"]["vocab"]) == 42_000


SHORT_TOKENS = LlamaShape(1, 32, 64, vocabulary=200_000, heads=4, kv_heads=4, tied=True)


def as_text(folder, tokens):
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')


def as_unigram(folder, tokens):
    model = {"type": "Unigram", "unk_id": 0, "vocab": [[token, -1] for token in tokens]}
    text = json.dumps({"added_tokens": [], "model": model}, separators=(",", ":"))
    (folder / "tokenizer.json").write_text(text)


@pytest.mark.parametrize("write", [as_text, as_unigram])
def test_a_union_of_short_tokens_takes_at_most_what_was_predicted(tmp_path, reserved, write):
    """A file may have a few bytes for each token, which take hundreds as objects of Python."""
    write_models(tmp_path, SHORT_TOKENS)
    for number, name in enumerate(("base", "tuned1", "tuned2")):
        for file in (tmp_path / name).glob("tokenizer*"):
            file.unlink()
        numbers = range(number * 40_000, number * 40_000 + SHORT_TOKENS.vocabulary)
        write(tmp_path / name, [f"{value:x}" for value in numbers])
    peak, predicted, budget = measured(tmp_path, Union(), None, 1, reserved)
    assert peak <= predicted <= budget


@pytest.mark.parametrize("labels", [20_000, 300_000])
def test_a_long_config_is_part_of_what_was_predicted(tmp_path, reserved, labels):
    names = {str(number): f"label number {number}" for number in range(labels)}
    config = {"id2label": names, "label2id": {label: int(key) for key, label in names.items()}}
    for name in ("base", "tuned1", "tuned2"):
        write_model(tmp_path / name, {"w": torch.ones(1000, 1000).bfloat16()}, config=config)
    peak, predicted, budget = measured(tmp_path, "ties", None, 1, reserved)
    assert peak <= predicted <= budget


def test_free_text_in_headers_is_part_of_what_was_predicted(tmp_path, reserved):
    for number, name in enumerate(("base", "tuned1", "tuned2")):
        (tmp_path / name).mkdir()
        texts = {f"key {key} of {number}": "x" * 1500 for key in range(20_000)}
        file = tmp_path / name / "model.safetensors"
        save_file({"w": torch.ones(1000, 1000).bfloat16()}, file, metadata=texts)
    peak, predicted, budget = measured(tmp_path, "ties", None, 1, reserved)
    assert peak <= predicted <= budget


RANK = 32


@pytest.fixture(scope="module")
def adapted_models(tmp_path_factory):
    """A base with two adapters of every linear layer and of the embedding."""
    root = tmp_path_factory.mktemp("adapted")
    shape = LlamaShape(2, 1024, 2048, vocabulary=32_000, heads=8, kv_heads=8, tied=True)
    write_base(root / "base", shape, seed=0)
    for number in (1, 2):
        write_adapter(root / f"tuned{number}", root / "base", rank=RANK, seed=number)
    return root


@frozen
class Ties:
    """A recipe over models of some kind, as a row of the table of methods would give it."""

    base: str
    tuned: tuple[str, ...]
    counts = (3,)
    statistics = ""

    def __str__(self):
        return "ties-" + "-".join(self.tuned).replace("+", "-")

    def recipe(self, _):
        weights = {"weight": 0.5, "density": 0.5}
        listed = [{"model": name, "parameters": weights} for name in self.tuned]
        return {"merge_method": "ties", "base_model": self.base, "models": listed}


class InCore(Ties):
    """The same models, merged by factors, and the embedding of 32,000 rows with them."""

    def __str__(self):
        return "core"

    def recipe(self, _):
        listed = [{"model": name} for name in self.tuned]
        recipe = {"merge_method": "iso_c", "base_model": self.base, "models": listed}
        return recipe | {"parameters": {"space": "core", "exclude": ""}}


@pytest.mark.parametrize("workers", [1, 2])
def test_adapters_take_what_was_predicted(adapted_models, reserved, workers):
    row = Ties("base", ("base+tuned1", "base+tuned2"))
    peak, predicted, budget = measured(adapted_models, row, None, workers, reserved)
    assert peak <= predicted <= budget


def test_factors_of_adapters_take_what_was_predicted(adapted_models, reserved):
    row = InCore("base", ("base+tuned1", "base+tuned2"))
    peak, predicted, budget = measured(adapted_models, row, None, 1, reserved)
    assert peak <= predicted <= budget


def test_extracting_an_adapter_takes_what_the_refusal_says(tmp_path, reserved):
    """A matrix that takes more than the process; rows and columns are told apart."""
    reserved(Executor.COPY)
    matrix = torch.randn(1200, 6000, generator=torch.Generator().manual_seed(0))
    for name, tensor in (("base", matrix), ("tuned", matrix + 0.01 * matrix.flip(0))):
        write_model(tmp_path / name, {"l.weight": tensor.bfloat16()}, config={})
    arguments = ["extract-lora", "tuned", "base", "out", "--rank", "8", "--memory-budget"]
    command = [sys.executable, str(SCRIPT), "0", *arguments]
    options = {"cwd": tmp_path, "capture_output": True, "text": True, "check": False}
    refused = subprocess.run([*command, "1MiB"], **options)
    assert refused.returncode == 3, refused.stderr
    budget_bytes = int(re.search(r"at least (\d+) MiB", refused.stderr)[1]) * MIB
    done = subprocess.run([*command, f"{budget_bytes}"], **options)
    assert done.returncode == 0, done.stderr
    peak = int(done.stderr.split("VmHWM ")[1])
    assert 0.7 * budget_bytes <= peak <= budget_bytes


@pytest.fixture(scope="module")
def stored_otherwise(small_models):
    """The fine-tunes as FP8 with scales, and as torch files."""
    write_block_scaled(small_models / "scaled", small_models / "tuned1")
    write_torch_copy(small_models / "torch", small_models / "tuned2")
    return small_models


@pytest.mark.parametrize("tuned", ["scaled", "torch"])
def test_other_formats_take_what_was_predicted(stored_otherwise, reserved, tuned):
    peak, predicted, budget = measured(stored_otherwise, Ties("base", (tuned,)), None, 2, reserved)
    assert peak <= predicted <= budget

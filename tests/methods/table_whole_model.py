"""The rows of methods with statistics of whole models."""

import data_statistics
import numpy as np
import reference_whole_model as whole
import torch
from rows import CANCELLING, NEGATIVE, PLAIN, WITH_ZERO, Row


def _deltas(given):
    return given.once("deltas", lambda: whole.whole_task_vectors(given.models, given.arithmetic))


def sparse_of_model(given):
    """Trimmed whole task vectors, their norms restored if the row asks for it."""

    def make():
        trimmed = whole.trim(_deltas(given), given.values("density", 0.05))
        return whole.restored(_deltas(given), trimmed) if given.own.get("rescale") else trimmed

    return given.once("sparse", make)


def _ties(given):
    sparse, weights = sparse_of_model(given), given.values("weight")
    return whole.elect(
        given.tensors[0],
        [delta[given.name] for delta in sparse],
        weights,
        given.once("majority", lambda: whole.majority(sparse, weights)),
        normalize=given.own.get("normalize", True),
        scale=given.own.get("lambda", 1.0),
    )


def _squares(given):
    return given.once("squares", lambda: [np.sum(whole.flat(d) ** 2) for d in _deltas(given)])


def _metagpt(given):
    scale = given.own.get("lambda", 1.0)
    return whole.metagpt(given.tensors[0], given.deltas, _squares(given), scale)


def _nan(given):
    of_model = given.own.get("scope") == "model"
    squares = _squares(given) if of_model else [np.sum(delta**2) for delta in given.deltas]
    if given.own.get("norms") == "models":
        squares = [np.sum(x**2) for x in given.tensors[1:]]
    return whole.nan(given.tensors[0], given.deltas, np.sqrt(squares), given.own.get("lambda", 1.0))


def _stitch(given):
    parts = [delta[given.name] for delta in sparse_of_model(given)]
    return whole.stitch(given.tensors[0], parts, given.own.get("lambda", 1.0))


def _pcb(given):
    ratio = given.own.get("ratio", 0.1)
    shares = given.once("s", lambda: whole.pcb_shares(_deltas(given), ratio, given.arithmetic))
    own = [share[given.name] for share in shares]
    return whole.pcb(given.tensors[0], given.deltas, own, given.own.get("lambda", 1.2))


def _emr(given):
    scale, task = given.own.get("lambda", 1.0), given.own.get("task")
    if task is None:
        return given.tensors[0] + scale * whole.unified(given.deltas)
    index = int(task)
    factor = given.once("factor", lambda: whole.emr_factor(_deltas(given), index))
    return given.tensors[0] + scale * factor * whole.masked(given.deltas, index)


def _emr_masks(given):
    return whole.agreement_bits(given.deltas)


def _emr_restored(given):
    task, scale = given.own["task"], given.own.get("lambda", 1.0)
    (label,), shape = given.labels, given.tensors[0].shape
    bits = data_statistics.masks(label, given.name, shape).numpy() >> task & 1
    factor = scale * data_statistics.RESCALERS[task].item()
    return given.tensors[0] + factor * bits * given.deltas[0]


def _bits_dtype(count):
    return torch.uint8 if count <= 9 else torch.uint16 if count <= 17 else torch.uint32


def _lines(given):
    ratio = given.once("ratio", lambda: whole.lines_ratio(_deltas(given)))
    rise = given.own["beta"] * whole.depth(given.name, given.models[0])
    return given.tensors[0] + (ratio * given.own["alpha"] + rise) * given.deltas[0]


def _ties_row(settings, weights=PLAIN, density=(0.3, 0.5, 0.75, 0.1), **own):
    own = {"scope": "model", **own}
    per_model = {"weight": weights, "density": density}
    counts = (2, 3, 5) if settings == "model" else (5,)
    return Row("ties", settings, _ties, own, per_model, counts=counts, votes=sparse_of_model)


def _row(method, formula, settings, per_model=None, counts=(5,), **own):
    counts = (2, 3, 5) if settings == "plain" else counts
    return Row(method, settings, formula, own, per_model or {}, counts=counts)


def _stitch_row(settings, density=(0.1, 0.2, 0.05, 0.3), **own):
    return _row("localize_and_stitch", _stitch, settings, {"density": density}, **own)


def _restored_row(settings, **own):
    more = {"counts": (2,), "statistics": data_statistics.MASKS}
    return Row("emr_restore", settings, _emr_restored, own, **more)


ROWS = (
    _ties_row("model"),
    _ties_row("model-density-edges", density=(0.0, 1.0, 1e-9, 0.5)),
    _ties_row("model-not-normalized", normalize=False),
    _ties_row("model-negative", NEGATIVE),
    _ties_row("model-weight-zero", WITH_ZERO, **{"lambda": 0.5}),
    _ties_row("model-weights-cancel", CANCELLING, density=(1.0, 1.0, 1.0, 1.0)),
    _ties_row("model-rescaled", rescale=True),
    _row("metagpt", _metagpt, "plain"),
    _row("metagpt", _metagpt, "lambda", **{"lambda": 0.25}),
    _row("nan", _nan, "plain"),
    _row("nan", _nan, "norms-of-models", norms="models"),
    _row("nan", _nan, "model", scope="model", **{"lambda": 0.5}),
    _stitch_row("plain"),
    _stitch_row("density-edges", (0.0, 1.0, 1e-9, 0.5), **{"lambda": 0.5}),
    _row("pcb", _pcb, "tenth", counts=(3,)),
    _row("pcb", _pcb, "half", ratio=0.5, **{"lambda": 0.5}),
    _row("emr", _emr, "plain"),
    _row("emr", _emr, "task", task="1", **{"lambda": 0.5}),
    Row("emr_masks", "plain", _emr_masks, counts=(2, 3, 5), dtype=_bits_dtype,
        beside=frozenset({"emr.rescalers"})),
    _restored_row("plain", task=0),
    _restored_row("scaled", task=2, **{"lambda": 0.5}),
    _row("lines", _lines, "plain", counts=(2,), alpha=0.25, beta=0.75),
    _row("lines", _lines, "tasks", alpha=0.5, beta=0.25),
)  # fmt: skip

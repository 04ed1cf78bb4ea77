"""Machine code of native functions, in memory and in the user's cache folder.

LLVM takes 25 to 150 ms for a function, while workers wait: what one process has compiled, later
ones read. The name of a file is a digest of all that machine code follows from, and its first bytes
are a digest of the rest, so a file of other code, or a damaged one, counts as missing.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import llvmlite
import xxhash
from llvmlite import binding

from graphmerge.machine import cache_folder, keep

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_OPT_LEVEL = 2
_DIGEST_BYTES = 8
_MOST_FILES = 512
"""Some 10 MiB; of more, those that have not been used for longest are removed."""


def loaded(code: str) -> binding.ExecutionEngine:
    """Machine code for this machine, in memory, from text in LLVM's language."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    cpu, features = binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()
    target = binding.Target.from_default_triple()
    machine = target.create_target_machine(cpu=cpu, features=features, opt=_OPT_LEVEL)
    versions = (llvmlite.__version__, *map(str, binding.llvm_version_info))
    file = _file_for((*versions, machine.triple, cpu, features, str(_OPT_LEVEL), code))
    objects = _kept(file)
    if objects is None:
        objects = _compiled(code, machine)
        keep(file, xxhash.xxh3_64_digest(objects) + objects)
        _forget_oldest(file.parent)
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), machine)
    engine.add_object_file(binding.ObjectFileRef.from_data(objects))
    engine.finalize_object()
    return engine


def _compiled(code: str, machine: binding.TargetMachine) -> bytes:
    """An object file with the machine code."""
    module = binding.parse_assembly(code)
    module.verify()
    options = binding.PipelineTuningOptions(speed_level=_OPT_LEVEL)
    options.loop_vectorization = False  # the code is made of vectors already
    options.slp_vectorization = False
    passes = binding.create_pass_builder(machine, options)
    passes.getModulePassManager().run(module, passes)
    objects: bytes = machine.emit_object(module)
    return objects


def _file_for(identity: Iterable[str]) -> Path:
    digest = xxhash.xxh3_128_hexdigest("\0".join(identity).encode())
    return cache_folder() / "native" / f"{digest}.o"


def _kept(file: Path) -> bytes | None:
    """What the file holds; None if there is none, if it is damaged, or if it is another user's."""
    try:
        with file.open("rb") as stream:
            if os.fstat(stream.fileno()).st_uid != os.geteuid():
                return None
            content = stream.read()
        os.utime(file)
    except OSError:
        return None
    digest, objects = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    return objects if xxhash.xxh3_64_digest(objects) == digest else None


def _forget_oldest(folder: Path) -> None:
    """Remove what has not been used for longest, if there are too many files."""
    with suppress(OSError):  # another process may do the same
        files = sorted(folder.iterdir(), key=lambda file: file.stat().st_mtime)
        for file in files[: -_MOST_FILES // 2] if len(files) > _MOST_FILES else ():
            file.unlink()

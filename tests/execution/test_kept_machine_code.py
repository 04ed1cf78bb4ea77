"""Machine code is compiled once for all processes, and nothing but that code is ever run."""

import ctypes
import os

import pytest

from graphmerge.native import machine_code
from graphmerge.native.machine_code import loaded


def adding(number):
    """Code of a function that adds a number."""
    return f"""
        define i64 @add(i64 %x) {{
            %sum = add i64 %x, {number}
            ret i64 %sum
        }}
    """


def call(engine, argument):
    return ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(engine.get_function_address("add"))(
        argument
    )


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """The files that are kept, as a function."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return lambda: sorted((tmp_path / "cache" / "graphmerge" / "native").glob("*"))


@pytest.fixture
def compiled(monkeypatch):
    """The code that was compiled."""
    texts, compile_text = [], machine_code._compiled

    def counted(code, machine):
        texts.append(code)
        return compile_text(code, machine)

    monkeypatch.setattr(machine_code, "_compiled", counted)
    return texts


def test_code_is_compiled_once(kept, compiled):
    assert [call(loaded(adding(2)), 40) for _ in range(3)] == [42, 42, 42]
    assert compiled == [adding(2)]
    assert len(kept()) == 1


def test_other_code_and_other_processors_have_files_of_their_own(kept, compiled, monkeypatch):
    assert call(loaded(adding(2)), 40) == 42
    assert call(loaded(adding(3)), 40) == 43
    monkeypatch.setattr(machine_code.binding, "get_host_cpu_name", lambda: "x86-64")
    assert call(loaded(adding(2)), 40) == 42
    assert len(compiled) == len(kept()) == 3


@pytest.mark.parametrize("damage", ["shorter", "empty", "changed", "of other code"])
def test_a_damaged_file_is_not_run(kept, compiled, damage):
    loaded(adding(3))
    (other,) = kept()
    loaded(adding(2))
    (file,) = set(kept()) - {other}
    content = file.read_bytes()
    changed = bytes([content[-1] ^ 1])
    file.write_bytes(
        {
            "shorter": content[:-1],
            "empty": b"",
            "changed": content[:-1] + changed,
            "of other code": content[:8] + other.read_bytes()[8:],
        }[damage]
    )
    assert call(loaded(adding(2)), 40) == 42
    assert compiled[2:] == [adding(2)]
    assert file.read_bytes() == content


def test_a_file_of_another_user_is_not_run(kept, compiled, monkeypatch):
    loaded(adding(2))
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    assert call(loaded(adding(2)), 40) == 42
    assert len(compiled) == 2
    assert len(kept()) == 1


def test_where_nothing_can_be_kept_code_is_compiled_each_time(tmp_path, compiled, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert [call(loaded(adding(2)), 40) for _ in range(2)] == [42, 42]
    assert len(compiled) == 2


def test_what_was_not_used_for_longest_is_forgotten(kept, compiled, monkeypatch):
    monkeypatch.setattr(machine_code, "_MOST_FILES", 4)
    for number in range(4):
        loaded(adding(number))
        (newest,) = [file for file in kept() if file.stat().st_mtime > 1e9]
        os.utime(newest, (number, number))
    loaded(adding(0))
    loaded(adding(4))
    assert len(kept()) == 2
    for number in (0, 4):
        loaded(adding(number))
    assert len(compiled) == 5


def test_a_user_without_a_home_has_a_folder_too(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("pathlib.Path.home", homeless)
    assert call(loaded(adding(2)), 40) == 42
    assert len(list((tmp_path / f"graphmerge-{os.geteuid()}" / "native").iterdir())) == 1

"""A merge that only moves bytes does not wait two seconds for torch."""

import subprocess
import sys
from pathlib import Path

from graphmerge.testing.checkpoints import write_base
from graphmerge.testing.llama_shapes import TINY

SCRIPT = """
import sys
from graphmerge.cli.app import main
try:
    main()
finally:
    print("torch" in sys.modules)
"""


def test_passthrough_starts_without_torch(tmp_path):
    write_base(tmp_path / "model", TINY, seed=0)
    (tmp_path / "copy.yml").write_text("merge_method: passthrough\nmodels: [{model: model}]\n")
    command = [sys.executable, "-c", SCRIPT, "run", "copy.yml", "out", "--memory-budget", "1GiB"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "False"
    assert Path(tmp_path / "out" / "model.safetensors").stat().st_size > 0

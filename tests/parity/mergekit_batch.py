"""Run many recipes through one process of `mergekit-yaml`; starting it takes longer than merging.

Runs in mergekit's environment. Arguments: the mergekit-yaml script, a folder of NAME.yml, a folder
for outputs, names. Writes NAME.json beside each output: what went wrong, or null.
"""

import json
import runpy
import sys
from pathlib import Path

FLAGS = ("--quiet", "--no-write-model-card", "--no-copy-tokenizer", "--random-seed", "0")


def run(script, recipe, out):
    sys.argv = [script, str(recipe), str(out), *FLAGS]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        return None if not end.code else f"exit {end.code}"
    except Exception as error:  # noqa: BLE001 - whatever it raises is the outcome to report
        return f"{type(error).__name__}: {error}"
    return None


def main():
    script, recipes, outputs, *names = sys.argv[1:]
    for name in names:
        outcome = run(script, Path(recipes, f"{name}.yml"), Path(outputs, name))
        Path(outputs, f"{name}.json").write_text(json.dumps(outcome))


if __name__ == "__main__":
    main()

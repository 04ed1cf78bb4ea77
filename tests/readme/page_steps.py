"""Do what a page says, step by step, in one process: `page_steps.py FOLDER < steps.json`.

A step is ["save", name, text], ["python", text] or ["graphmerge", argument, ...]. Prints what the
commands printed, as JSON.
"""

import json
import os
import sys
from pathlib import Path

from typer.testing import CliRunner

from graphmerge.cli.app import app


def command(arguments):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, (arguments, result.output)
    return result.stdout


os.chdir(sys.argv[1])
printed = []
for kind, *arguments in json.load(sys.stdin):
    if kind == "save":
        Path(arguments[0]).write_text(arguments[1])
    elif kind == "python":
        exec(compile(arguments[0], "a block of the page", "exec"), {"__name__": "__main__"})
    else:
        printed.append(command(arguments))
json.dump(printed, sys.stdout)

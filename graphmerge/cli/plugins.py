"""`graphmerge plugins`: methods and readers that installed packages bring."""

from __future__ import annotations

import typer

from graphmerge.cli import exit_codes
from graphmerge.cli.say import say
from graphmerge.plugins.readers import installed_plugins
from graphmerge.reporting.columns import columns


def plugins() -> None:
    """List the methods and readers that installed packages bring, and what is wrong with them."""
    reports = installed_plugins()
    if not reports:
        say("no plug-ins: no installed package has entry points in graphmerge.methods or .readers")
        return
    rows = [("kind", "name", "package", "from", "state")]
    rows += [
        (one.kind, one.name, one.package, one.module, "broken" if one.problem else "ok")
        for one in reports
    ]
    for line in columns(rows):
        say(line)
    problems = [report.problem for report in reports if report.problem]
    for problem in problems:
        say(f"error: {problem}", err=True)
    if problems:
        raise typer.Exit(exit_codes.BROKEN_PLUGIN)

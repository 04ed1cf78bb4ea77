"""Run graphmerge in this process."""

from graphmerge import pipeline
from graphmerge.schedule.plan import Request
from graphmerge.units import GIB


class Silence:
    """A listener that ignores what it hears."""

    def progressed(self, counts):
        pass

    def warned(self, text):
        pass


def run_graphmerge(recipe, out):
    """Merge and give the report."""
    compiled = pipeline.compile_recipe(recipe)
    plan = pipeline.make_plan(compiled, Request(8 * GIB, workers=2), calibrate=False)
    return pipeline.run(compiled, plan, out, pipeline.RunOptions(), Silence())

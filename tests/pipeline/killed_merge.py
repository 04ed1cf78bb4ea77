"""A merge with slow reads, to be killed half-way: `killed_merge.py RECIPE OUT SECONDS_PER_READ`."""

import sys
import time
from pathlib import Path

from graphmerge.pipeline import RunOptions, compile_recipe, run
from graphmerge.testing.merging import Silent, plan_for
from graphmerge.testing.reads import before_reads

recipe, out, delay = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
before_reads(lambda entries: time.sleep(delay * len(entries)))
compiled = compile_recipe(recipe)
report = run(compiled, plan_for(compiled, workers=2), out, RunOptions(), Silent())
sys.stdout.write(f"{report.continued_tensors}\n")

"""graphmerge with slow reads, to be killed half-way: `slow_command.py SECONDS_PER_READ ARGS...`."""

import sys
import time

from graphmerge.cli.app import main
from graphmerge.testing.reads import before_reads

delay = float(sys.argv.pop(1))
before_reads(lambda entries: time.sleep(delay * len(entries)))
main()

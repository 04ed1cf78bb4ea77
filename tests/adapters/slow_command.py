"""graphmerge with slow reads, to be killed half-way: `slow_command.py SECONDS_PER_READ ARGS...`."""

import sys
import time

from graphmerge.cli.app import main
from graphmerge.execution.reading import FileReader

delay = float(sys.argv.pop(1))
read = FileReader.read


def read_slowly(self, *arguments):
    time.sleep(delay)
    read(self, *arguments)


FileReader.read = read_slowly
main()

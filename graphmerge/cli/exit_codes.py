"""Exit codes that are no property of an error; see also `GraphmergeError.exit_code`."""

DAMAGED = 2
"""`graphmerge verify` found something wrong."""
BROKEN_PLUGIN = 2
"""`graphmerge plugins` found one that cannot be used."""
INTERRUPTED = 130
"""What shells expect of a command that Ctrl-C ended."""
BROKEN_PIPE = 141
"""What shells expect of a command whose reader went away."""

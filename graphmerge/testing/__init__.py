"""A kit for authors of tests and plug-ins: synthetic checkpoints of every size."""

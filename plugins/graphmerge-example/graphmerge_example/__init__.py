"""An example of a graphmerge plug-in: one merge method of each kind."""

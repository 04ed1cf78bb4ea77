"""graphmerge: a compiler for model merges."""

"""The ops: what each one is. What it computes is in `graphmerge.kernels`."""

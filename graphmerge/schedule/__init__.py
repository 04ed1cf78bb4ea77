"""Graph and budget to plan: passes, units, tile size, workers, what is kept; and the memory model."""

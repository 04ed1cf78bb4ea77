"""Graph and budget to plan: passes, units, tile size, workers, what is kept, how much it takes."""

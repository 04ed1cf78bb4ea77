"""Tiles in motion: readers, workers, the engine that hands out tiles, and the measured peak."""

"""Recipe, headers and methods to graph."""

"""Names of the files that an output has of its own, beside weights and configs."""

CARD_NAME = "README.md"
"""The model card."""
MANIFEST_NAME = "graphmerge.json"
"""The manifest: what the output was made from, and the checksum of every tensor."""
RECIPE_NAME = "graphmerge_recipe.yml"
"""The recipe as it was read."""

"""Recipes for the methods of these tests."""


def recipe(method, *models, base=None, **parameters):
    """A recipe; a model is a name, or a name with its own parameters."""
    pairs = [model if isinstance(model, tuple) else (model, {}) for model in models]
    head = {"merge_method": method} | ({"base_model": base} if base else {})
    listed = [{"model": name} | ({"parameters": own} if own else {}) for name, own in pairs]
    return head | {"models": listed, "parameters": parameters}

"""Vocabularies: reading tokenizers, combining them, where rows come from, writing them."""

"""Names of the files of a tokenizer."""

TOKENIZER, SETTINGS = "tokenizer.json", "tokenizer_config.json"
VOCABULARY_JSON, MERGES, VOCABULARY_TEXT = "vocab.json", "merges.txt", "vocab.txt"
ADDED_TOKENS, SPECIAL_TOKENS = "added_tokens.json", "special_tokens_map.json"
READABLE = (TOKENIZER, VOCABULARY_JSON, MERGES, VOCABULARY_TEXT, ADDED_TOKENS)
"""Text files that say which tokens there are."""
SENTENCEPIECE = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
"""Sentencepiece models; the first may be something else."""
BINARY = (*SENTENCEPIECE, "tekken.json")
"""Files that say it in forms to which no tokens are added."""
VERSIONS = "tokenizer.model.v*"
"""Pattern of the names of what is beside `tokenizer.model` in some repositories, and not read."""

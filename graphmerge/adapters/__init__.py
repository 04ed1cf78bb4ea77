"""LoRA adapters that are made: extracted from fine-tunes, or merged from several."""

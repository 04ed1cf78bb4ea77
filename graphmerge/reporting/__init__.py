"""Plans and expressions in words: text for terminals, HTML for notebooks."""

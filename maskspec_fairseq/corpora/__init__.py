"""Build data directories: one module per corpus, what they share, and `tools` for directories that exist."""

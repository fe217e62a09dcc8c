"""Tools for corpora and data directories: each module has `add_arguments(parser)` and `run(args)`, the exit code."""

"""Read and write the files of a data directory: manifests, labels and log-mel statistics. Does not need torch."""


class ManifestError(Exception):
    """A data directory does not hold what it should."""

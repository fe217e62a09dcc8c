"""The files of a data directory: manifests, labels and log-mel statistics. No torch and no fairseq here."""


class ManifestError(Exception):
    """A data directory does not hold what it should."""

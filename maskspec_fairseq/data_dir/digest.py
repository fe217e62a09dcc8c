"""SHA-256 of what a data directory holds for a training, wherever the directory and its audio are."""

import hashlib
import json
import os
from collections.abc import Sequence

from maskspec_fairseq.data_dir.manifest import check_manifest
from maskspec_fairseq.data_dir.mel_stats import read_all_mel_statistics

CHUNK_BYTES = 1 << 20


def digest_clips(directory: str, subsets: Sequence[str], labels: bool) -> str:
    """Of the clips of some subsets in their order, of their labels and events if any; not of the audio's root.

    Raises:
        ManifestError: a subset has no manifest.
        OSError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for subset in subsets:
        manifest = os.path.join(directory, f"{subset}.tsv")
        check_manifest(manifest)
        label_files = [os.path.join(directory, f"{subset}{extension}") for extension in (".lbl", ".events")]
        for path in [manifest, *filter(os.path.isfile, label_files if labels else [])]:
            with open(path, "rb") as stream:
                if path == manifest:
                    stream.readline()
                for chunk in iter(lambda: stream.read(CHUNK_BYTES), b""):
                    digest.update(chunk)
    return digest.hexdigest()


def digest_statistics(directory: str, front_end: str, subsets: Sequence[str]) -> str:
    """Of the log-mel statistics of some subsets, to one decimal.

    Other audio differs by more in some of the bins. The same audio, measured by another processor, differs by 1e-6, and
    so in about one of 10,000 cases by a last decimal of any of them. Subsets that have not been measured are left out.

    Raises:
        ManifestError: `mel_stats.json` is not JSON.
    """
    measured = read_all_mel_statistics(directory).get(front_end, {}).get("subsets", {})
    statistics = [
        [f"{value:.1f}" for value in measured[subset][name]]
        for subset in subsets
        if subset in measured
        for name in ("mean", "std")
    ]
    return hashlib.sha256(json.dumps(statistics).encode()).hexdigest()

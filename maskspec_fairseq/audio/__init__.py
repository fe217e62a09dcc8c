"""Open and decode audio files and clips in packs. Knows no data set, and does not need torch."""


class AudioError(Exception):
    """A file does not hold the audio that it should."""

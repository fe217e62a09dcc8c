"""Open and decode audio files and clips in packs. Knows no data set, and does not need torch."""

MIN_RATE = 1000  # Hz; a header below is wrong, and a filter for resampling from it needs gigabytes


class AudioError(Exception):
    """A file does not hold the audio that it should."""

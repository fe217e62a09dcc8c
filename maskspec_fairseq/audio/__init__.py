"""What every reader of audio raises."""


class AudioError(Exception):
    """A file does not hold the audio that it should."""

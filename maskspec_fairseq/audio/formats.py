"""Which files hold sound, by their names."""

import os
from shlex import quote

# Names of files that soundfile decodes by their headers. Its list of formats has names of formats, not of files.
EXTENSIONS = (
    ".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".aif", ".aiff",
    ".aifc", ".au", ".snd", ".caf", ".sph", ".nist", ".voc", ".iff", ".svx", ".8svx", ".avr", ".paf", ".pvf", ".sf",
    ".ircam",
)  # fmt: skip
# Names of files that hold sound, which soundfile does not decode.
UNDECODABLE = (
    ".m4a", ".m4b", ".mp4", ".aac", ".ac3", ".amr", ".3gp", ".webm", ".mkv", ".mka", ".mov", ".avi", ".wma", ".wmv",
    ".ape", ".wv", ".tta", ".mpc", ".spx", ".ra", ".dsf", ".dff",
)  # fmt: skip


def is_decodable(path: str) -> bool:
    """Whether soundfile may decode a file, by its name."""
    return not path.lower().endswith(UNDECODABLE)


def conversion(path: str) -> str:
    """The command that makes a FLAC of a file that soundfile does not decode."""
    return f"ffmpeg -i {quote(path)} -vn {quote(os.path.splitext(path)[0] + '.flac')}"

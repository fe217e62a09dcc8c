"""A sound file whose samples are the same wherever reading begins.

Source of the figures: libsndfile 1.2.2 and the mpg123 in it, compared with decoding from the beginning.
"""

import os

import soundfile

BLOCK_FRAMES = 1 << 16  # decoded and thrown away at a time
MP3_FRAME = 1152  # samples per frame, at most
# A frame of an mp3 uses bytes of earlier frames (the bit reservoir), of which mpg123 decodes too few after seeking. So
# decoding starts 32 frames early, and at a multiple of 4 frames, where its rounding (1e-7) is that of the whole file.
MP3_ALIGN = 4 * MP3_FRAME
MP3_LEAD = 8 * MP3_ALIGN
# libsndfile takes the last page of an ogg, which may end early, for a full one: samples sought in it are late.
# A page has at most 255 packets, of 1024 samples in Vorbis and 960 in Opus.
OGG_LAST_PAGE = 1 << 18


class ExactFile(soundfile.SoundFile):
    """A file that is decoded on from where the last read ended, and from a safe point before the target of `seek`."""

    def seekable(self) -> bool:
        """False, for soundfile: after each read it seeks to the current position if a file is seekable.

        An mp3 decoder then loses the state that the next frames refer to: recordings read in blocks were off by up to
        a tenth of full scale.
        """
        return False

    @property
    def is_mp3(self) -> bool:
        """Whether the samples are encoded as MPEG layer 3, in an .mp3 or in a wav."""
        return self.subtype == "MPEG_LAYER_III"

    @property
    def length_slack(self) -> int:
        """By how many frames a complete file may be shorter than its header says."""
        # The length of an mp3 without a Xing header is an estimate; of the ones we wrote it was up to 0.7 % too long.
        return self.frames // 100 + 2 * MP3_FRAME if self.is_mp3 else 0

    def seek(self, frames: int, whence: int = os.SEEK_SET) -> int:
        """Make `frames`, counted from the beginning, the next frame that is read.

        What cannot be sought (GSM 6.10, G.721 and others) is decoded from the beginning, so there it must come before
        the first read.

        Raises:
            ValueError: `whence` is not the beginning.
            soundfile.SoundFileError: there is no such frame.
        """
        if whence != os.SEEK_SET:
            raise ValueError("expected a position from the beginning of the file; add the current one")
        position = 0
        if super().seekable():
            position = self._safe_point(frames)
            super().seek(position)
        while position < frames:
            read = len(self.read(min(BLOCK_FRAMES, frames - position), dtype="float32", always_2d=True))
            if not read:  # the file is shorter than its header says: the next read finds nothing, too
                break
            position += read
        return position

    def _safe_point(self, frames: int) -> int:
        """The last frame up to `frames` from which decoding gives the samples that it gives from the beginning."""
        if self.is_mp3:
            return max(0, frames // MP3_ALIGN * MP3_ALIGN - MP3_LEAD)
        return max(0, min(frames, self.frames - OGG_LAST_PAGE)) if self.format == "OGG" else frames

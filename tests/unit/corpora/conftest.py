"""Fixtures that several corpora share."""

import pytest

from tests.factories import write_tone


@pytest.fixture()
def tree(tmp_path):
    """Sixteen clips in four classes with difficult names, all readable."""
    audio = tmp_path / "audio"
    for number in range(4):
        write_tone(audio / "Dogs, barking" / f"a {number}.wav", 0.3, hz=300 + number)
        write_tone(audio / "deep" / "Füße" / f"ü{number}.flac", 0.3, 44100, hz=400 + number)
        write_tone(audio / "rain" / f"{number}.OGG", 0.3, 44100, hz=500 + number, channels=2)
        write_tone(audio / "日本" / f"{number}.mp3", 0.5, 44100, hz=600 + number)
    (audio / "notes.txt").write_text("no audio")
    (audio / "rain" / "._0.ogg").write_text("a shadow file")
    return audio

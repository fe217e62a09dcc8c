"""From names of classes, as folders and tables have them, to the keys of label files."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from typing import Callable

from maskspec_fairseq.data_dir.labels import Label


def label_key(name: str) -> str:
    """A name in a form that label files can hold: lower case, `_` for all but letters, marks and digits.

    Marks are kept because the vowels of many scripts are marks: without them Devanagari loses its vowels.
    """
    kept = (char if unicodedata.category(char)[0] in "LMN" else "_" for char in normal_form(name).casefold())
    return re.sub("_+", "_", "".join(kept)).strip("_")


def normal_form(name: str) -> str:
    """One spelling of names that look the same: macOS writes `é` as two characters, others as one."""
    return unicodedata.normalize("NFC", name)


def vocabulary_of(names: Iterable[str], key_of: Callable[[str], str] = label_key) -> dict[str, Label]:
    """The classes of some names.

    Names whose key would be the same, or empty, keep their case and punctuation in their keys (`C`, `C#`); those that
    differ only in spaces and commas are numbered.

    Returns:
        Name in normal form -> its class, sorted by name; the keys differ.
    """
    distinct = sorted({normal_form(name) for name in names})
    counts = Counter(map(key_of, distinct))
    classes: dict[str, Label] = {}
    taken = {key for key, count in counts.items() if count == 1}
    for name in distinct:
        key = key_of(name)
        if not key or counts[key] > 1:
            exact = re.sub(r"^-", "_-", re.sub("[\\s,\ufeff]+", "_", name))
            key, number = exact, 1
            while key in taken:
                number += 1
                key = f"{exact}_{number}"
            taken.add(key)
        classes[name] = Label(key, name)
    return classes

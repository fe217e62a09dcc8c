import pickle

import numpy as np
import pytest

from maskspec_fairseq.data_dir.packed import PackedRows, PackedStrings

NAMES = ["a b/c, d.wav", "Füße/日本.flac", "plain.ogg"]


def test_packed_strings_are_a_sequence_like_a_list():
    strings = ["", *NAMES, "", NAMES[0]]
    packed = PackedStrings(iter(strings))
    assert list(packed) == strings and len(packed) == 6 and packed == strings and strings == packed
    assert [packed[index] for index in range(-6, 6)] == strings * 2
    assert packed[np.int64(2)] == "Füße/日本.flac" and packed.index("plain.ogg") == 3 and "other" not in packed
    for index in (6, -7):
        with pytest.raises(IndexError):
            packed[index]
    assert packed != strings[:-1] and packed != [*strings[:-1], "x"] and packed != "".join(strings)
    assert PackedStrings() == [] and PackedStrings("abc") == PackedStrings(["a", "b", "c"])


def test_packed_strings_grow_and_travel():
    packed = PackedStrings(NAMES[:1])
    packed.extend(PackedStrings(NAMES[1:]))
    packed.append("last")
    assert packed == [*NAMES, "last"]
    again = pickle.loads(pickle.dumps(packed))
    assert again == packed and type(again) is PackedStrings
    again.append("more")
    assert len(packed) == 4


def test_packed_rows_are_a_sequence_of_arrays():
    rows = [[3, 1], [], [2], [0, 526, 7]]
    packed = PackedRows(rows[:1])
    packed.extend(PackedRows(rows[1:]))
    assert [row.tolist() for row in packed] == rows and packed[-1].dtype == np.int32
    assert packed.values.tolist() == [3, 1, 2, 0, 526, 7] and packed.lengths.tolist() == [2, 0, 1, 3]
    assert len(PackedRows()) == len(PackedRows().values) == len(PackedRows().lengths) == 0
    with pytest.raises(IndexError):
        packed[4]
    packed[0][0] = 9  # a copy
    assert [row.tolist() for row in pickle.loads(pickle.dumps(packed))] == rows

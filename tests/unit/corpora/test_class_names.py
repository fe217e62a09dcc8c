"""Keys of classes from their names."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskspec_fairseq.corpora.class_names import label_key, vocabulary_of
from maskspec_fairseq.data_dir.labels import read_vocabulary, write_vocabulary


@pytest.mark.parametrize(
    "names, keys",
    [
        (["Dogs, barking", "Füße", "日本"], ["dogs_barking", "füsse", "日本"]),
        (["C", "C#", "D"], ["C", "C#", "d"]),
        (["+5", "-5"], ["+5", "_-5"]),
        (["a b", "a, b"], ["a_b", "a_b_2"]),
        (["a b", "a, b", "A-b 2"], ["a_b_2", "a_b", "a_b_3"]),
        (["!!", "?"], ["!!", "?"]),
        (["कि", "का", "की"], ["का", "कि", "की"]),
        (["ที่", "ทา"], ["ทา", "ที่"]),
    ],
)
def test_keys_are_readable_and_differ(names, keys):
    assert [label.key for label in vocabulary_of(names).values()] == keys


def test_one_name_in_two_spellings_is_one_class():
    composed, decomposed = (unicodedata.normalize(form, "Café") for form in ("NFC", "NFD"))
    assert composed != decomposed and label_key(composed) == label_key(decomposed) == "café"
    assert list(vocabulary_of([composed, decomposed])) == [composed]


@given(st.sets(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1), min_size=1, max_size=8))
def test_any_names_make_a_vocabulary_that_can_be_written_and_read(tmp_path_factory, names):
    path = tmp_path_factory.mktemp("any") / "labels.csv"
    labels = list(vocabulary_of(names).values())
    write_vocabulary(path, labels)
    assert read_vocabulary(path) == labels
    assert {label.name for label in labels} == {unicodedata.normalize("NFC", name) for name in names}

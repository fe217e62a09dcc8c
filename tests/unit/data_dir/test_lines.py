"""Lines that no real file has."""

import os
import tracemalloc

import pytest

from maskspec_fairseq.data_dir import ManifestError
from maskspec_fairseq.data_dir.labels import read_labels, read_vocabulary
from maskspec_fairseq.data_dir.lines import MAX_LINE, read_lines
from maskspec_fairseq.data_dir.manifest import read_manifest


@pytest.mark.parametrize(
    "name, beginning, read",
    [
        ("a.tsv", "/tmp\na.wav\t1\n", read_manifest),
        ("a.lbl", "dog\n\n", lambda path: read_labels(path, [], 3)),
        ("labels.csv", "index,mid,display_name\n0,a,A\n", read_vocabulary),
    ],
)
def test_a_line_of_a_gibibyte_is_refused_before_it_is_in_memory(tmp_path, name, beginning, read):
    path = tmp_path / name
    path.write_text(beginning + "x" * 100)
    os.truncate(path, 2**30)
    tracemalloc.start()
    try:
        with pytest.raises(ManifestError, match=f"{name}, line 3: expected at most {MAX_LINE} bytes, found more, beg"):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 5 * MAX_LINE
    finally:
        tracemalloc.stop()


def test_the_longest_line_is_read(tmp_path):
    (tmp_path / "a").write_text("x" * (MAX_LINE - 1) + "\n" + "y\n")
    assert [len(line) for line in read_lines(tmp_path / "a")] == [MAX_LINE - 1, 1]

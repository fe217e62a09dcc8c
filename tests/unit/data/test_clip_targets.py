import numpy as np

from maskspec_fairseq.data.clip_targets import ClipTargets
from maskspec_fairseq.data_dir.labels import ClipLabels, Label, PackedLabels

VOCABULARY = [Label(key, key) for key in "abcd"]


def test_classes_that_are_not_named_are_absent():
    targets = ClipTargets(PackedLabels(VOCABULARY, [ClipLabels(["c", "a"]), ClipLabels([]), ClipLabels(["d"])]))
    assert len(targets) == 3 and targets.num_classes == 4
    target, known = targets[0]
    assert target.tolist() == [1, 0, 1, 0] and target.dtype == np.float32 and known.all()
    assert targets[1][0].sum() == 0 and targets[1][1].all()
    assert [row.tolist() for row in targets.present()] == [[2, 0], [], [3]]


def test_in_a_partly_labelled_corpus_they_are_unknown():
    targets = ClipTargets(PackedLabels(VOCABULARY, [ClipLabels(["a"], ["c"]), ClipLabels(["d"])]))
    target, known = targets.stacked()
    assert target.tolist() == [[1, 0, 0, 0], [0, 0, 0, 1]]
    assert known.tolist() == [[True, False, True, False], [False, False, False, True]]

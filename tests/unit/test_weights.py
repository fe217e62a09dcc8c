"""The weights that come with the package."""

import re

import pytest
import torch

import maskspec_fairseq
from maskspec_fairseq.checkpoints.exported import CONFIG_FILE, shipped_weights
from maskspec_fairseq.checkpoints.read import load_pretrained
from maskspec_fairseq.inference.export_transformers import PREPROCESSOR_FILE, STUB_FILE, write_transformers
from maskspec_fairseq.modules.sizes import SIZES
from tests.factories import REPOSITORY, build_classifier, classifier_cfg, noise

NAMES = [path.name for path in (REPOSITORY / "weights").iterdir()]


def test_their_files_are_small_and_say_what_they_were_made_of():
    assert NAMES == ["maskspec_tiny_free"]
    folder = REPOSITORY / "weights" / "maskspec_tiny_free"
    assert shipped_weights("maskspec_tiny_free") == str(folder)
    assert sum(path.stat().st_size for path in folder.iterdir()) < 12e6
    rows = [
        line.split(" | ")
        for line in (folder / "SOURCES.md").read_text().splitlines()
        if re.match(r"\| (?!source)", line)
    ]
    assert len(rows) == 42 and all(len(row) == 6 for row in rows)
    licences = [row[3] for row in rows]
    assert all(re.search("CC0|CC BY|GPL|GFDL|ODbL|public domain", licence) for licence in licences)
    assert not any(re.search(r"NC|[Nn]on-?commercial|ND", licence) for licence in licences)
    assert "unknown" not in (folder / "README.md").read_text()


def test_their_files_are_what_an_export_writes_today(tmp_path):
    write_transformers(maskspec_fairseq.load_model("maskspec_tiny_free"), str(tmp_path))
    for name in (CONFIG_FILE, PREPROCESSOR_FILE, STUB_FILE):
        assert (REPOSITORY / "weights" / "maskspec_tiny_free" / name).read_text() == (tmp_path / name).read_text()


def test_a_name_with_a_slip_gets_the_right_ones():
    names = r"come with the package, which have no labels \(maskspec_tiny_free\)"
    with pytest.raises(ValueError, match=rf"^maskspec_tiny_fre: .* {names}$"):
        maskspec_fairseq.load_model("maskspec_tiny_fre")


@torch.inference_mode()
def test_they_embed_any_clip():
    model = maskspec_fairseq.load_model("maskspec_tiny_free")
    embeddings = model(noise(50000, clips=3), 32000).embedding
    assert embeddings.shape == (3, 3072) and embeddings.isfinite().all() and not model.labels
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    alone = torch.cat([model(clip[None], 32000).embedding for clip in noise(50000, clips=3)])
    torch.testing.assert_close(embeddings, alone, rtol=0, atol=1e-4)


def test_a_training_starts_from_them():
    size = SIZES["tiny"]
    cfg = classifier_cfg(**{name: value for name, value in vars(size).items() if name.startswith("encoder_")})
    model = build_classifier(cfg)
    said = load_pretrained(model, cfg, shipped_weights("maskspec_tiny_free"))
    assert "encoder and statistics" in said and "new head" in said


@torch.inference_mode()
def test_transformers_gives_the_same():
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    folder = str(REPOSITORY / "weights" / "maskspec_tiny_free")
    found = transformers.AutoModel.from_pretrained(folder, trust_remote_code=True)(noise(64000)).pooler_output
    expected = maskspec_fairseq.load_model("maskspec_tiny_free")(noise(64000), 32000).embedding
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)

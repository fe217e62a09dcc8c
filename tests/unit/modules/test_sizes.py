"""The sizes are the paper's, and the recipes have the same."""

import inspect
from dataclasses import asdict

import pytest
from omegaconf import OmegaConf

import maskspec_fairseq
from maskspec_fairseq.modules.classifier import SpectrogramClassifier
from maskspec_fairseq.modules.masked_autoencoder import MaskedAutoencoder
from maskspec_fairseq.modules.sizes import BASE, SIZES
from tests.factories import REPOSITORY

# arXiv:2204.12768, section 2.2: N_emb, N_h, N_ffn. The base model's N_ffn is that of the table's 86 M parameters.
PAPERS = {"tiny": (192, 3, 768), "small": (384, 6, 1536), "base": (768, 12, 3072)}
RECIPES = {
    path: name
    for name in SIZES
    for path in [
        *sorted((REPOSITORY / "config").glob(f"*/size/{name}.yaml")),
        *([REPOSITORY / "config/pretraining/maskspec_base.yaml", REPOSITORY / "config/finetuning/base.yaml"])
        * (name == "base"),
    ]
}


@pytest.mark.parametrize("name", PAPERS)
def test_sizes_are_the_papers(name):
    size = SIZES[name]
    assert (size.encoder_embed_dim, size.encoder_attention_heads, size.encoder_ffn_embed_dim) == PAPERS[name]
    assert (size.encoder_layers, size.decoder_layers) == (12, 8)
    # section 2.3: the same decoder for all three
    assert (size.decoder_embed_dim, size.decoder_attention_heads, size.decoder_ffn_embed_dim) == (512, 16, 2048)


def test_every_size_has_its_recipes():
    # pretraining has no size/base.yaml, it starts from maskspec_base
    assert sorted(RECIPES.values()) == ["base"] * 3 + ["small"] * 2 + ["tiny"] * 2


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: str(path.relative_to(REPOSITORY / "config")))
def test_recipes_have_the_sizes(path):
    size, model = asdict(SIZES[RECIPES[path]]), OmegaConf.load(path).model
    differing = {field: model[field] for field in size if field in model and model[field] != size[field]}
    assert not differing
    # what a size file leaves out is what the sizes share with the base
    assert all(size[field] == asdict(BASE)[field] for field in size if field not in model)


@pytest.mark.parametrize("cls", [MaskedAutoencoder, SpectrogramClassifier])
def test_modules_are_the_base_model_by_default(cls):
    defaults = {name: parameter.default for name, parameter in inspect.signature(cls).parameters.items()}
    shared = {field: value for field, value in asdict(BASE).items() if field in defaults}
    assert len(shared) == (8 if cls is MaskedAutoencoder else 4)
    assert {field: defaults[field] for field in shared} == shared


@pytest.mark.parametrize("name", SIZES)
def test_factories_build_the_sizes(name):
    model = getattr(maskspec_fairseq, f"maskspec_{name}")(front_end="narrowband", sample_rate=8000, mask_ratio=0.5)
    width, heads, ffn = PAPERS[name]
    assert isinstance(model, MaskedAutoencoder)
    for stack, sizes in [(model.encoder, (12, width, heads, ffn)), (model.decoder, (8, 512, 16, 2048))]:
        block = stack.blocks[0]
        assert (len(stack.blocks), stack.embed_dim, block.attn.num_heads, block.mlp.fc1.out_features) == sizes
    assert (model.front_end.params.name, model.front_end.sample_rate, model.mask_ratio) == ("narrowband", 8000, 0.5)


def test_a_factorys_sizes_can_be_changed():
    assert len(maskspec_fairseq.maskspec_tiny(encoder_layers=2, decoder_layers=1).encoder.blocks) == 2

import pytest
from omegaconf import OmegaConf

from maskspec_fairseq.models.maskspec import MaskSpecConfig, MaskSpecModel
from tests.factories import SMALL_AUTOENCODER


def config(**kwargs):
    cfg = MaskSpecConfig(**{**SMALL_AUTOENCODER, **kwargs})
    cfg._name, cfg.sample_rate = "maskspec", 32000
    return OmegaConf.structured(cfg)


@pytest.mark.parametrize(
    "fields, message",
    [
        (dict(embedding_pool="cls+max"), r"expected an encoder with a CLS token for the pooling cls\+max.*choose mean"),
        (dict(embedding_pool="max"), "model: expected embedding_pool to be one of mean, .*found 'max'"),
        (dict(embedding_pool="attention"), "model: expected embedding_pool to be one of mean, .*found 'attention'"),
    ],
)
def test_embeddings_that_nobody_could_read_are_refused_before_training(fields, message):
    MaskSpecModel.build_model(config(embedding_pool="frequency"))
    with pytest.raises(ValueError, match=message):
        MaskSpecModel.build_model(config(**fields))

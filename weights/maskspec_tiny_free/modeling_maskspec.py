"""Where transformers finds the classes of this model; they are in the package maskspec-fairseq."""

try:
    from maskspec_fairseq.integrations.transformers import (  # noqa: F401
        MaskSpecConfig,
        MaskSpecFeatureExtractor,
        MaskSpecForAudioClassification,
        MaskSpecForPreTraining,
        MaskSpecModel,
    )
except ModuleNotFoundError as error:
    if not (error.name or "").startswith("maskspec_fairseq"):
        raise
    raise ImportError(
        "expected the package maskspec-fairseq, which has the classes of this model, found none; get a checkout of it, "
        "and pip install 'CHECKOUT[transformers]'"
    ) from None

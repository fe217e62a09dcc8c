"""Hugging Face transformers: config, feature extractor and models, registered with its Auto classes when imported.

`maskspec-export --transformers` writes folders for them. Page: docs/transformers.md.
"""

try:
    from transformers import (
        AutoConfig,
        AutoFeatureExtractor,
        AutoModel,
        AutoModelForAudioClassification,
        AutoModelForPreTraining,
    )
except ModuleNotFoundError as error:
    if error.name != "transformers":
        raise
    raise ImportError(
        "expected the package transformers, found none; pip install 'maskspec-fairseq[transformers]'"
    ) from None

from maskspec_fairseq.integrations.transformers.configuration import MaskSpecConfig
from maskspec_fairseq.integrations.transformers.feature_extraction import MaskSpecFeatureExtractor
from maskspec_fairseq.integrations.transformers.modeling import (
    MaskSpecForAudioClassification,
    MaskSpecForPreTraining,
    MaskSpecModel,
)

__all__ = [
    "MaskSpecConfig",
    "MaskSpecFeatureExtractor",
    "MaskSpecForAudioClassification",
    "MaskSpecForPreTraining",
    "MaskSpecModel",
]

AutoConfig.register(MaskSpecConfig.model_type, MaskSpecConfig)
AutoFeatureExtractor.register(MaskSpecConfig, MaskSpecFeatureExtractor)
AutoModel.register(MaskSpecConfig, MaskSpecModel)
AutoModelForAudioClassification.register(MaskSpecConfig, MaskSpecForAudioClassification)
AutoModelForPreTraining.register(MaskSpecConfig, MaskSpecForPreTraining)

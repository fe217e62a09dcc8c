"""`maskspec_fairseq.hear`, the name that hear-validator is given: see `maskspec_fairseq.integrations.hear`."""

from maskspec_fairseq.integrations.hear import get_scene_embeddings, get_timestamp_embeddings, load_model

__all__ = ["get_scene_embeddings", "get_timestamp_embeddings", "load_model"]

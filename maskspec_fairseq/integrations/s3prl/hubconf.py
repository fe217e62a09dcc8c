"""What s3prl finds by name, once its `s3prl/hub.py` has `from maskspec_fairseq.integrations.s3prl.hubconf import *`."""

import os

from maskspec_fairseq.integrations.s3prl.expert import UpstreamExpert as _UpstreamExpert


def maskspec(ckpt: str, *args, **kwargs) -> _UpstreamExpert:
    """The upstream `maskspec` of a checkpoint or an exported folder (`-k`).

    Raises:
        ValueError: there is no such file.
    """
    if not os.path.exists(ckpt):
        raise ValueError(f"expected a checkpoint or an exported folder as ckpt, found none at {ckpt}; correct the path")
    return _UpstreamExpert(ckpt, *args, **kwargs)

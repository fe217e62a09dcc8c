"""The entry that s3prl finds by name.

Add `from maskspec_fairseq.integrations.s3prl.hubconf import *` to its `s3prl/hub.py`.
"""

import os

from maskspec_fairseq.integrations.s3prl.expert import UpstreamExpert as _UpstreamExpert


def maskspec(ckpt: str, *args, **kwargs) -> _UpstreamExpert:
    """The upstream `maskspec`.

    Args:
        ckpt: a checkpoint or an exported folder (`-k`).
        *args: passed on to `UpstreamExpert`.
        **kwargs: passed on to `UpstreamExpert`.

    Raises:
        ValueError: there is no such file; or see `load_model`.
    """
    if not os.path.exists(ckpt):
        raise ValueError(f"expected a checkpoint or an exported folder as ckpt, found none at {ckpt}; correct the path")
    return _UpstreamExpert(ckpt, *args, **kwargs)

"""The entry that s3prl finds by name.

Add `from maskspec_fairseq.integrations.s3prl.hubconf import *` to its `s3prl/hub.py`.
"""

from maskspec_fairseq.integrations.s3prl.expert import UpstreamExpert as _UpstreamExpert


def maskspec(ckpt: str, *args, **kwargs) -> _UpstreamExpert:
    """The upstream `maskspec`.

    Args:
        ckpt: what `load_model` takes (`-k`): a checkpoint, an exported folder, the name of weights of the package.
        *args: passed on to `UpstreamExpert`.
        **kwargs: passed on to `UpstreamExpert`.

    Raises:
        ValueError: see `load_model`.
    """
    return _UpstreamExpert(ckpt, *args, **kwargs)

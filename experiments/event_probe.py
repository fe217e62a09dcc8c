"""A head of frames on a frozen encoder: `python -m experiments.event_probe --data DATA_DIR --out DIR`.

The frames of the training subset are encoded once, a linear layer is fitted to their targets by L-BFGS, and the model
with that head is written as a folder, which maskspec-evaluate and maskspec-tag read. Without --pretrained the tiny
encoder has random weights. It costs one pass through the data, where finetuning costs dozens.
"""

import argparse

import torch
from torch import nn

from maskspec_fairseq.audio.read import load_crop
from maskspec_fairseq.data.clip_targets import ClipTargets
from maskspec_fairseq.data.frame_targets import ColumnGrid, FrameTargets
from maskspec_fairseq.data_dir.events import read_subset_events
from maskspec_fairseq.data_dir.labels import read_subset_labels, read_vocabulary
from maskspec_fairseq.data_dir.manifest import read_manifest
from maskspec_fairseq.data_dir.mel_stats import read_mel_statistics
from maskspec_fairseq.inference.audio_model import AudioModel
from maskspec_fairseq.inference.export_folder import write_folder
from maskspec_fairseq.inference.load import load_model
from maskspec_fairseq.modules.sizes import SIZES

CLIP_SEC = 5.0
DECAY = 1e-3  # of the squared weights of the head, whose inputs have deviations of 1
ITERATIONS = 100


def tiny_model(data: str, seed: int) -> AudioModel:
    """The tiny encoder with random weights, and the statistics of the training subset."""
    torch.manual_seed(seed)
    size = SIZES["tiny"]
    names = ("encoder_embed_dim", "encoder_layers", "encoder_attention_heads", "encoder_ffn_embed_dim")
    model = AudioModel({name: getattr(size, name) for name in names}, CLIP_SEC)
    front_end = model.network.front_end
    front_end.set_statistics(*read_mel_statistics(data, front_end.settings(), ["train"]))
    return model.eval()


@torch.no_grad()
def frames_of(model: AudioModel, data: str, clips: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Embeddings of the frames of the first clips, (N, W'), their targets, (N, C), and which are known, (N, C)."""
    manifest, vocabulary = read_manifest(f"{data}/train.tsv"), read_vocabulary(f"{data}/labels.csv")
    labels = read_subset_labels(data, "train", vocabulary, len(manifest), target_is_multilabel=True)
    events = read_subset_events(data, "train", vocabulary, manifest, labels)
    embeddings, targets, known = [], [], []
    for index in range(min(clips, len(manifest))):
        crop = load_crop(manifest.full_path(index), model.sample_rate, channel=model.channel)
        windows = model.scored_windows.cut(torch.from_numpy(crop.waveform)[None])[0]  # (K, W)
        columns = model.embed_frames(windows, passes=1)[None]  # (1, K, M, W')
        frames = model.scored_windows.join(columns, len(crop.waveform))[0]  # (N, W')
        hop, samples = model.network.front_end.hop_length, len(crop.waveform)
        grid = ColumnGrid(model.sample_rate, samples, len(frames), model.column_samples, -hop / 2)
        target, is_known = FrameTargets(events, ClipTargets(labels), grid).of(index, crop.start, crop.rate)
        embeddings.append(frames)
        targets.append(torch.from_numpy(target))
        known.append(torch.from_numpy(is_known))
    return torch.cat(embeddings), torch.cat(targets), torch.cat(known)


def fit_head(embeddings: torch.Tensor, target: torch.Tensor, known: torch.Tensor) -> nn.Linear:
    """The linear layer, (W') -> (C), by the mean cross-entropy of what is known and the decay."""
    mean, std = embeddings.mean(dim=0), embeddings.std(dim=0).clamp(min=1e-6)
    inputs = (embeddings - mean) / std
    head = nn.Linear(inputs.shape[1], target.shape[1])
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        losses = nn.functional.binary_cross_entropy_with_logits(head(inputs), target, reduction="none")
        loss = losses[known].mean() + DECAY * head.weight.square().sum() / target.shape[1]
        loss.backward()
        return loss

    print(f"loss {optimizer.step(closure).item():.4f} -> {closure().item():.4f}, of {len(inputs)} frames")
    with torch.no_grad():
        head.bias -= head.weight @ (mean / std)
        head.weight /= std
    return head


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, metavar="DATA_DIR", help="with events of train")
    parser.add_argument("--out", required=True, metavar="DIR", help="for the model's folder")
    parser.add_argument("--pretrained", metavar="CHECKPOINT", help="an encoder (default: random weights)")
    parser.add_argument("--pool", choices=("mean", "frequency"), default="frequency", help="of a column's rows")
    parser.add_argument("--clips", type=int, default=200, metavar="N", help="of train (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the random weights")
    args = parser.parse_args()
    encoder = load_model(args.pretrained) if args.pretrained else tiny_model(args.data, args.seed)
    encoder.read_out(args.pool)
    encoder.clip_sec, encoder.layers = CLIP_SEC, ()
    head = fit_head(*frames_of(encoder, args.data, args.clips))
    architecture = {**encoder.architecture, "head": "frames"}
    labels = read_vocabulary(f"{args.data}/labels.csv")
    model = AudioModel(architecture, CLIP_SEC, encoder.channel, labels, target_is_multilabel=True)
    weights = {**encoder.network.state_dict(), "head.weight": head.weight.data, "head.bias": head.bias.data}
    model.network.load_state_dict(weights)
    write_folder(model.eval(), args.out)
    print(f"{args.out}: {args.pretrained or 'random weights'}, {args.pool}")


if __name__ == "__main__":
    main()

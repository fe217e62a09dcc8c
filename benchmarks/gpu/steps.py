"""Training steps in half precision: ours as fairseq takes them, and timm's as a user of torch would.

Ours has weights in half precision with a float32 copy, which fairseq's `FP16Optimizer` and `maskspec_adamw` update
(`common.fp16` and `common.bf16` of the recipes). The peers have float32 weights, autocast, torch's AdamW with its
default settings and, in fp16, torch's scaler of the loss. The waveforms lie on the device; masks are drawn for every
step, on the host, as in a training.
"""

from dataclasses import asdict
from typing import Any, Callable

import torch
import torch.nn.functional as F
from fairseq.dataclass.configs import FairseqConfig
from fairseq.optim import FP16Optimizer
from omegaconf import OmegaConf
from timm.models.vision_transformer import VisionTransformer

from benchmarks import steps
from benchmarks.gpu.workload import DTYPES, Workload
from benchmarks.steps import LEARNING_RATE, PATCH, RATE
from benchmarks.timm_mae import TimmMae
from maskspec_fairseq.modules.classifier import SpectrogramClassifier
from maskspec_fairseq.modules.compiled_blocks import compile_blocks
from maskspec_fairseq.modules.log_mel import LogMel
from maskspec_fairseq.modules.losses import masked_spectrogram_loss
from maskspec_fairseq.modules.masked_autoencoder import MaskedAutoencoder
from maskspec_fairseq.modules.patches import patchify
from maskspec_fairseq.optim.maskspec_adamw import MaskSpecAdamWConfig
from maskspec_fairseq.tasks.transformer_blocks import checkpoint_blocks

CLASSES = 527
Step = Callable[[], None]


def fairseq_optimizer(model: torch.nn.Module, precision: str) -> FP16Optimizer:
    """What fairseq's trainer builds for a model that is in half precision already."""
    cfg = OmegaConf.structured(FairseqConfig())
    OmegaConf.set_struct(cfg, False)
    cfg.common.fp16, cfg.common.bf16 = precision == "fp16", precision == "bf16"
    cfg.common.fp16_no_flatten_grads = True
    cfg.distributed_training.distributed_world_size = 1  # not the number of GPUs of this machine
    optimizer = MaskSpecAdamWConfig(lr=[LEARNING_RATE], fp16=cfg.common.fp16, bf16=cfg.common.bf16)
    cfg.optimizer = OmegaConf.structured(optimizer)
    OmegaConf.set_struct(cfg.optimizer, False)
    cfg.optimizer._name = "maskspec_adamw"
    return FP16Optimizer.build_optimizer(cfg, list(model.parameters()))


def take_step(optimizer: FP16Optimizer, loss: torch.Tensor, sample_size: Any) -> None:
    """fairseq's own steps: scale the loss, divide the gradients, update."""
    optimizer.backward(loss)
    optimizer.multiply_grads(1 / sample_size)
    try:
        optimizer.clip_grad_norm(0.0)
        optimizer.step()
    except OverflowError:  # the first steps in fp16; the scale is lowered
        pass
    optimizer.zero_grad()


def pretraining_step(
    work: Workload, size: str, fast: bool, precision: str, compiled: bool = False, checkpointed: bool = False
) -> Step:
    """A step of `maskspec_SIZE`, or of `maskspec_SIZE_fast`."""
    model = MaskedAutoencoder(**steps.model_fields(size, fast)).to(work.device, DTYPES[precision])
    if compiled:
        compile_blocks(model)
    if checkpointed:
        checkpoint_blocks(model, compiled, amp=False)
    optimizer, waveform, epochs = fairseq_optimizer(model, precision), work.waveform(RATE), iter(range(10**9))

    def step() -> None:
        output = model(waveform, clip_key=work.clip_keys(next(epochs)))
        loss, count = masked_spectrogram_loss(output["prediction"], output["target"], output["scored"])
        take_step(optimizer, loss, count)

    return step


def finetuning_step(work: Workload, size: str, patchout: float, precision: str) -> Step:
    """A step of the classifier of a size."""
    encoder = {name: value for name, value in asdict(steps.SIZES[size]).items() if name.startswith("encoder_")}
    model = SpectrogramClassifier(CLASSES, patchout=patchout, **encoder).to(work.device, DTYPES[precision]).train()
    optimizer, waveform, target = fairseq_optimizer(model, precision), work.waveform(RATE), targets(work)
    epochs = iter(range(10**9))

    def step() -> None:
        logits = model(waveform, work.clip_keys(next(epochs)))
        loss = F.binary_cross_entropy_with_logits(logits.float(), target, reduction="sum")
        take_step(optimizer, loss, target.numel())

    return step


def timm_pretraining_step(work: Workload, size: str, precision: str) -> Step:
    """A step of the same masked autoencoder made of timm's blocks, with fused attention."""
    front_end, waveform = LogMel("paper", RATE, PATCH).to(work.device), work.waveform(RATE)
    model = TimmMae(
        front_end.grid(waveform.shape[1]),
        **{name: value for name, value in asdict(steps.SIZES[size]).items() if "ffn" not in name},
    ).to(work.device)

    def loss() -> torch.Tensor:
        patches = patchify(front_end(waveform), PATCH)
        return model(patches, noise=torch.rand(patches.shape[:2], device=work.device))

    return autocast_step(work, model, loss, precision)


def timm_vit(work: Workload, front_end: LogMel, size: str, num_classes: int) -> VisionTransformer:
    """timm's ViT of a size, on log-mels as images of one channel; mean over the patches."""
    shape = (front_end.n_mels, front_end.num_frames(work.seconds * RATE))
    return VisionTransformer(
        shape, patch_size=PATCH, in_chans=1, num_classes=num_classes, global_pool="avg", class_token=False,
        embed_dim=steps.SIZES[size].encoder_embed_dim, num_heads=steps.SIZES[size].encoder_attention_heads,
        depth=steps.SIZES[size].encoder_layers,
    ).to(work.device)  # fmt: skip


def timm_finetuning_step(work: Workload, size: str, precision: str) -> Step:
    """A step of a ViT of timm of the same size."""
    front_end, waveform, target = LogMel("paper", RATE).to(work.device), work.waveform(RATE), targets(work)
    model = timm_vit(work, front_end, size, CLASSES).train()

    def loss() -> torch.Tensor:
        return F.binary_cross_entropy_with_logits(model(front_end(waveform)[:, None]), target)

    return autocast_step(work, model, loss, precision)


def autocast_step(work: Workload, model: torch.nn.Module, loss_of: Callable[[], torch.Tensor], precision: str) -> Step:
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    scaler = torch.amp.GradScaler(work.device, enabled=precision == "fp16")

    def step() -> None:
        with torch.autocast(work.device, DTYPES[precision]):
            loss = loss_of()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()

    return step


def targets(work: Workload) -> torch.Tensor:
    """(B, C) of zeros and ones."""
    return torch.rand(work.clips, CLASSES, generator=torch.Generator().manual_seed(1)).lt(0.01).float().to(work.device)

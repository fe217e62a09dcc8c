"""Optimizer `maskspec_adamw`: torch's AdamW without decay of biases and norms.

Source: MaskSpec, arXiv:2204.12768, section 3.1 (AdamW, decay 0.05); the betas are those of the released code.
"""

import logging
from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, List, Optional, Tuple

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.optim import FairseqOptimizer, register_optimizer
from fairseq.optim.adam import Adam
from omegaconf import II
from torch.nn import Parameter

from maskspec_fairseq.registered_names import OPTIMIZER

logger = logging.getLogger(__name__)


@dataclass
class MaskSpecAdamWConfig(FairseqDataclass):
    adam_betas: List[float] = field(default_factory=lambda: [0.9, 0.95], metadata={"help": "betas of AdamW"})
    adam_eps: float = field(default=1e-8, metadata={"help": "epsilon of AdamW"})
    weight_decay: float = field(default=0.05, metadata={"help": "decoupled weight decay of matrices and tokens"})
    layer_decay: float = field(default=1.0, metadata={"help": "ratio of a layer's learning rate to the next one's"})
    lr: List[float] = II("optimization.lr")
    fp16: bool = II("common.fp16")
    bf16: bool = II("common.bf16")


def has_fused_adamw(parameter: Parameter) -> bool:
    """Whether torch has a fused AdamW for the parameter's device: on CUDA, and from torch 2.4 on a CPU."""
    try:
        torch.optim.AdamW([parameter], fused=True)
    except RuntimeError:
        return False
    return True


@register_optimizer(OPTIMIZER, dataclass=MaskSpecAdamWConfig)
class MaskSpecAdamW(FairseqOptimizer):
    """AdamW (arXiv:1711.05101) without decay of one-dimensional parameters, with smaller steps for lower layers.

    With `layer_decay` the learning rate of a parameter of layer l (0 for the embedding, L for the head) is multiplied
    by layer_decay ** (L - l), warm-up and floor included (BEiT, arXiv:2106.08254; the released code has it in
    finetuning). Models name the layer in the attribute `param_group` of their parameters, "layer:name".

    In half precision the optimizer works on a float32 copy of the model. fairseq saves only the half-precision
    weights, so the copy is saved here, and a run resumes with exactly the numbers at which it was stopped.

    Where torch has a fused kernel, which passes over memory once, it is used; a checkpoint may come from a run with or
    without it.

    Raises:
        ValueError: fairseq has flattened the parameters into one, or the model does not support `layer_decay`.
    """

    def __init__(self, cfg: MaskSpecAdamWConfig, params: Iterable[Parameter]) -> None:
        super().__init__(cfg)
        self._params = list(params)
        if all(p.dim() <= 1 for p in self._params):
            raise ValueError(
                "expected parameters of two dimensions for maskspec_adamw, found none, and nothing to decay; "
                "with common.fp16 set common.fp16_no_flatten_grads=true"
            )
        self._lr = cfg.lr[0]
        groups: Dict[Tuple[float, float], List[Parameter]] = {}
        for parameter, scale in zip(self._params, self._scales()):
            decay = cfg.weight_decay if parameter.dim() > 1 else 0.0
            groups.setdefault((scale, decay), []).append(parameter)
        settings = self.optimizer_config
        # In fairseq's memory-efficient modes the parameters are in half precision; its own AdamW keeps float32 moments.
        optimizer = Adam
        if self._params[0].dtype == torch.float32:
            optimizer, settings["fused"] = torch.optim.AdamW, has_fused_adamw(self._params[0]) or None
        self._optimizer = optimizer(
            [
                {"params": members, "weight_decay": decay, "lr_scale": scale, "lr": self._lr * scale}
                for (scale, decay), members in groups.items()
            ],
            **settings,
        )

    @property
    def optimizer_config(self) -> Dict[str, Any]:
        return {"lr": self.cfg.lr[0], "betas": tuple(self.cfg.adam_betas), "eps": self.cfg.adam_eps}

    def get_lr(self) -> float:
        """The learning rate of the last layer."""
        return self._lr

    def set_lr(self, lr: float) -> None:
        self._lr = lr
        for group in self.param_groups:
            group["lr"] = lr * group["lr_scale"]

    def _scales(self) -> List[float]:
        """The factor of each parameter's learning rate; logged once."""
        if self.cfg.layer_decay == 1.0:
            return [1.0] * len(self._params)
        layers: List[int] = []
        for parameter in self._params:
            layer, colon, _ = getattr(parameter, "param_group", "").partition(":")
            if not colon:
                raise ValueError(
                    "expected parameters with a layer (param_group) for optimizer.layer_decay, found none; "
                    "set optimizer.layer_decay=1.0 for this model"
                )
            layers.append(int(layer))
        first, last = min(layers), max(layers)  # a frozen layer has no parameters here
        if first < last:
            logger.info(
                "learning rate from x %.5f in layer %d to x 1 in layer %d (the head)",
                *(self.cfg.layer_decay ** (last - first), first, last),
            )
        return [self.cfg.layer_decay ** (last - layer) for layer in layers]

    def state_dict(self) -> Dict[str, Any]:
        state = super().state_dict()
        if self._has_master_weights:
            state = {**state, "master": [p.detach().clone() for p in self._params]}
        return state

    def load_state_dict(self, state_dict: Dict[str, Any], optimizer_overrides: Optional[Dict[str, Any]] = None) -> None:
        """Load the state of a checkpoint.

        Raises:
            ValueError: it is that of other parameters, as of a run that froze other parts.
        """
        expected, found = (
            [len(group["params"]) for group in groups] for groups in (self.param_groups, state_dict["param_groups"])
        )
        if expected != found:
            raise ValueError(
                f"expected a checkpoint with optimizer state for {sum(expected)} parameters in {len(expected)} groups, "
                f"those that train here, found {sum(found)} in {len(found)}; take model.freeze_encoder, "
                "model.trainable_layers and optimizer.layer_decay of its run, or start another run from its weights by "
                "model.pretrained"
            )
        # The checkpoint's groups name the kernel of its run; this torch and this device may have another.
        here = {name: self.param_groups[0][name] for name in ("fused", "foreach") if name in self.param_groups[0]}
        groups = [{**group, **here} for group in state_dict["param_groups"]]
        super().load_state_dict({**state_dict, "param_groups": groups}, optimizer_overrides)
        if self._has_master_weights and "master" in state_dict:
            for parameter, saved in zip(self._params, state_dict["master"]):
                parameter.data.copy_(saved)

    @property
    def _has_master_weights(self) -> bool:
        """Whether the parameters are float32 copies of half-precision ones (the memory-efficient modes have none)."""
        return (self.cfg.fp16 or self.cfg.bf16) and self._params[0].dtype == torch.float32

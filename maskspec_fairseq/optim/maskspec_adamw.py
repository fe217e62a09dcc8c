"""Optimizer `maskspec_adamw`: torch's AdamW, with no decay on biases and norms.

Source: MaskSpec, arXiv:2204.12768, section 3.1 (AdamW, decay 0.05); the betas are the released code's.
"""

from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, List

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.optim import FairseqOptimizer, register_optimizer
from omegaconf import II
from torch.nn import Parameter


@dataclass
class MaskSpecAdamWConfig(FairseqDataclass):
    adam_betas: List[float] = field(default_factory=lambda: [0.9, 0.95], metadata={"help": "betas of AdamW"})
    adam_eps: float = field(default=1e-8, metadata={"help": "epsilon of AdamW"})
    weight_decay: float = field(default=0.05, metadata={"help": "decoupled decay of weight matrices and tokens"})
    lr: List[float] = II("optimization.lr")


@register_optimizer("maskspec_adamw", dataclass=MaskSpecAdamWConfig)
class MaskSpecAdamW(FairseqOptimizer):
    """AdamW (arXiv:1711.05101) with two groups: parameters of one dimension are not decayed."""

    def __init__(self, cfg: MaskSpecAdamWConfig, params: Iterable[Parameter]) -> None:
        super().__init__(cfg)
        params = list(params)
        groups = [
            {"params": [p for p in params if p.dim() > 1], "weight_decay": cfg.weight_decay},
            {"params": [p for p in params if p.dim() <= 1], "weight_decay": 0.0},
        ]
        self._optimizer = torch.optim.AdamW([group for group in groups if group["params"]], **self.optimizer_config)

    @property
    def optimizer_config(self) -> Dict[str, Any]:
        return {"lr": self.cfg.lr[0], "betas": tuple(self.cfg.adam_betas), "eps": self.cfg.adam_eps}

"""Optimizer `maskspec_adamw`: torch's AdamW, with no decay on biases and norms.

Source: MaskSpec, arXiv:2204.12768, section 3.1 (AdamW, decay 0.05); the betas are the released code's.
"""

from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, List, Optional

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
    fp16: bool = II("common.fp16")
    bf16: bool = II("common.bf16")


@register_optimizer("maskspec_adamw", dataclass=MaskSpecAdamWConfig)
class MaskSpecAdamW(FairseqOptimizer):
    """AdamW (arXiv:1711.05101) with two groups: parameters of one dimension are not decayed.

    In half precision the optimizer works on a float32 copy of the model. fairseq saves the halves alone, so the copy
    is saved here, and a resumed run goes on from the very numbers at which it was stopped.

    Raises:
        ValueError: fairseq has flattened the parameters into one.
    """

    def __init__(self, cfg: MaskSpecAdamWConfig, params: Iterable[Parameter]) -> None:
        super().__init__(cfg)
        self._params = list(params)
        if all(p.dim() <= 1 for p in self._params):
            raise ValueError(
                "expected parameters of two dimensions for maskspec_adamw, found none, and nothing to decay; "
                "with common.fp16 set common.fp16_no_flatten_grads=true"
            )
        groups = [
            {"params": [p for p in self._params if p.dim() > 1], "weight_decay": cfg.weight_decay},
            {"params": [p for p in self._params if p.dim() <= 1], "weight_decay": 0.0},
        ]
        self._optimizer = torch.optim.AdamW([group for group in groups if group["params"]], **self.optimizer_config)

    @property
    def optimizer_config(self) -> Dict[str, Any]:
        return {"lr": self.cfg.lr[0], "betas": tuple(self.cfg.adam_betas), "eps": self.cfg.adam_eps}

    def state_dict(self) -> Dict[str, Any]:
        state = super().state_dict()
        if self._has_master_weights:
            state = {**state, "master": [p.detach().clone() for p in self._params]}
        return state

    def load_state_dict(self, state_dict: Dict[str, Any], optimizer_overrides: Optional[Dict[str, Any]] = None) -> None:
        super().load_state_dict(state_dict, optimizer_overrides)
        if self._has_master_weights and "master" in state_dict:
            for parameter, saved in zip(self._params, state_dict["master"]):
                parameter.data.copy_(saved)

    @property
    def _has_master_weights(self) -> bool:
        """Whether the parameters are float32 copies of a half model's (the memory-efficient modes have none)."""
        return (self.cfg.fp16 or self.cfg.bf16) and self._params[0].dtype == torch.float32

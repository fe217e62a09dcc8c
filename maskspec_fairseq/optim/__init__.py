from maskspec_fairseq.fairseq_compat import require_fairseq

require_fairseq()

from maskspec_fairseq.optim import maskspec_adamw, maskspec_cosine  # noqa: E402, F401

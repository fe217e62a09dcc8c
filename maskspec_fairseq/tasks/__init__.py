from maskspec_fairseq.fairseq_compat import (
    allow_checkpoint_broadcast,
    require_fairseq,
    shorten_log,
    show_full_tracebacks,
)

require_fairseq()
allow_checkpoint_broadcast()
show_full_tracebacks()
shorten_log()

from maskspec_fairseq.tasks import maskspec_finetuning, maskspec_pretraining  # noqa: E402, F401

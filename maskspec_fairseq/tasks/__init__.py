from maskspec_fairseq.host import allow_checkpoint_broadcast, require_fairseq, shorten_log, show_errors

require_fairseq()
allow_checkpoint_broadcast()
show_errors()
shorten_log()

from maskspec_fairseq.tasks import maskspec_finetuning, maskspec_pretraining  # noqa: E402, F401

from maskspec_fairseq.host import allow_checkpoint_broadcast, require_fairseq

require_fairseq()
allow_checkpoint_broadcast()

from maskspec_fairseq.tasks import maskspec_pretraining  # noqa: E402, F401

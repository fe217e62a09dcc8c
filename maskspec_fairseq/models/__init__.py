from maskspec_fairseq.fairseq_compat import require_fairseq

require_fairseq()

from maskspec_fairseq.models import maskspec, maskspec_classifier  # noqa: E402, F401

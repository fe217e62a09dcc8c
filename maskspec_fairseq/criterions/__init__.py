from maskspec_fairseq.fairseq_compat import require_fairseq

require_fairseq()

from maskspec_fairseq.criterions import maskspec_classification, maskspec_prediction  # noqa: E402, F401

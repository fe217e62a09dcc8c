from maskspec_fairseq.host import require_fairseq

require_fairseq()

from maskspec_fairseq.models import maskspec  # noqa: E402, F401

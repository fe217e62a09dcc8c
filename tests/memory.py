"""What Linux says of the memory of a process. Nothing else is imported, because it is measured in fresh processes."""

import re
from pathlib import Path


def kib(pid: object, field: str, file: str = "status") -> int:
    """A line of /proc/PID/status or smaps_rollup.

    VmHWM is the peak of this process alone; `ru_maxrss` would begin with that of its parent.
    """
    text = Path(f"/proc/{pid}/{file}").read_text()
    return int(re.search(rf"^{field}:\s+(\d+) kB$", text, re.MULTILINE)[1])

"""Write values for hydra's command line, whose grammar gives brackets, commas and other characters a meaning."""

import re

# What needs no quotes by the grammars of hydra 1.0 to 1.3.
PLAIN = re.compile(r"[A-Za-z0-9_./+-]+")


def format_override(field: str, value: object) -> str:
    """`field=value` as hydra 1.0 to 1.3 read it; quote the result for a shell, too, where it is shown to a user.

    Args:
        value: a number, a bool, a list of numbers, or a path or name, which is quoted where it needs to be.
    """
    if isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, (list, tuple)):
        text = f"[{','.join(map(str, value))}]"
    else:
        text = str(value)
        if isinstance(value, str) and not PLAIN.fullmatch(text):
            text = "'" + text.replace("'", "\\'") + "'"
    return f"{field}={text}"

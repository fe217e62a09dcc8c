"""Write values for hydra's command line, whose grammar gives brackets, commas and other characters a meaning."""

import re

# What is a text without quotes by the grammars of hydra 1.0 to 1.3: a path, or a word that is none of theirs.
PLAIN = re.compile(r"[A-Za-z0-9_.+-]*/[A-Za-z0-9_./+-]*|(?!(?:true|false|null|nan|inf)$)[A-Za-z_][A-Za-z0-9_]*", re.I)


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
            text = re.sub(r"(\\+)(?='|\Z)", r"\1\1", text)  # only there a backslash means something, since hydra 1.1
            text = "'" + text.replace("'", "\\'") + "'"
    return f"{field}={text}"

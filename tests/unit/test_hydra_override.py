import hydra
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from maskspec_fairseq.hydra_override import format_override


@pytest.mark.parametrize(
    "value",
    [
        "/data/plain-1.0/esc50", "/data/[old], new", "/data/Geräusche", "/data/音", "a=b", "{x: 1}", "it's", 'say "x"',
        "a (copy)", "#1", "$HOME", "~me", "with:colon", "@home", "100%", "a*b?", "", " padded ", "back\\slash",
        "null", "True", "false", "nan", "1e3", "12", "-3", "inf", "nano", "a/1", "1/2", "./x", "weights.pt",
        0.25, 16000, True, False, [8, 62], [],
    ],
)  # fmt: skip
def test_hydra_reads_back_what_was_written(value):
    (override,) = OverridesParser.create().parse_overrides([format_override("task.data", value)])
    assert override.key_or_group == "task.data"
    found = override.value()
    assert found == value and isinstance(found, bool) == isinstance(value, bool)


@pytest.mark.skipif(hydra.__version__.startswith("1.0."), reason="hydra 1.0 has no way to write these")
@pytest.mark.parametrize("value", ["end\\", "x/two\\\\", "a\\'b", "\\"])
def test_a_backslash_before_a_quote_is_read_back(value):
    (override,) = OverridesParser.create().parse_overrides([format_override("task.data", value)])
    assert override.value() == value

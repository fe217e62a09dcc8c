import math

import pytest

from maskspec_fairseq.fields import FLAG, TEXT, check_fields, int_between, list_of, number, one_of, read_json


@pytest.mark.parametrize(
    "field, accepted, refused",
    [
        (int_between(1, 5), [1, 5], [0, 6, 2.0, True, math.nan, "2", None]),
        (int_between(0, 8, step=4), [0, 4, 8], [2, 12]),
        (number(0, 1), [0, 1, 0.5], [-0.1, 1.1, math.nan, math.inf, 10**400, True, "0", [0]]),
        (FLAG, [True, False], [0, 1, "true", None]),
        (TEXT, ["", "x"], [None, 1, ["x"]]),
        (one_of("a", "b"), ["a", "b"], ["ab", "", None, ["a"], {}]),
        (list_of(TEXT), [[], ["a", "b"], ("a",)], ["ab", [1], None, {"a": 1}]),
        (list_of(int_between(1, 9), 0, 2), [[], [1, 2]], [[1], [1, 2, 3], [1, 0]]),
    ],
)
def test_a_field_takes_values_of_its_type_and_range_alone(field, accepted, refused):
    assert all(field.accepts(value) for value in accepted)
    assert not any(field.accepts(value) for value in refused)


@pytest.mark.parametrize(
    "found, message",
    [
        ([1], r"c.json: expected a table of fields, found \[1\]"),
        ({1: 2}, "c.json: expected a table of fields, found {1: 2}"),
        ({"a": 1}, "c.json: expected the field 'b', found none; write the file again"),
        ({"a": 10**9, "b": 1}, "c.json: expected a to be a whole number from 1 to 5, found 1000000000"),
    ],
)
def test_what_is_missing_or_odd_is_named(found, message):
    with pytest.raises(ValueError, match=message):
        check_fields(found, {"a": int_between(1, 5), "c": FLAG}, "c.json", required=("b",))


def test_a_value_in_a_message_is_cut_short():
    with pytest.raises(ValueError, match="expected a to be true or false") as refused:
        check_fields({"a": ["x" * 10**6] * 100}, {"a": FLAG}, "c.json")
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize("text", ["", "{", "[" * 10**5, b"\xff{}"])
def test_what_is_not_json_is_refused(tmp_path, text):
    path = tmp_path / "c.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match="c.json: expected JSON, found: "):
        read_json(str(path))

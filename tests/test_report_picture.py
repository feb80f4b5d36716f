import math

import pytest

from basinbridge.errors import InputError
from basinbridge.report.picture import read_result, write_result


def test_a_result_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "plane.json"
    write_result({"x": [1.5, 2]}, path, "plane")
    assert read_result(path, "plane") == {"format": 1, "kind": "plane", "x": [1.5, 2]}


def test_another_kind_or_format_and_broken_files_are_refused(tmp_path):
    path = tmp_path / "plane.json"
    write_result({}, path, "plane")
    with pytest.raises(InputError, match="no signature"):
        read_result(path, "signature")
    path.write_text('{"format": 2, "kind": "plane"}')
    with pytest.raises(InputError, match="no plane of format 1"):
        read_result(path, "plane")
    path.write_text("{")
    with pytest.raises(InputError, match="not valid JSON"):
        read_result(path, "plane")
    with pytest.raises(InputError, match="cannot be read"):
        read_result(tmp_path / "none.json", "plane")


def test_what_is_not_finite_is_not_written(tmp_path):
    path = tmp_path / "plane.json"
    write_result({"x": 1}, path, "plane")
    before = path.read_bytes()
    with pytest.raises(InputError, match="not finite"):
        write_result({"x": math.nan}, path, "plane")
    assert path.read_bytes() == before

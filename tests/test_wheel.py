"""What is shipped: the package, and nothing from beside it."""

import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    from hatchling.builders.wheel import WheelBuilder

    folder = tmp_path_factory.mktemp("wheel")
    (built,) = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    with zipfile.ZipFile(built) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_holds_the_package_and_its_description_only(wheel):
    package = ROOT / "src" / "basinbridge"
    wanted = {
        str(file.relative_to(package.parent))
        for file in package.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    described = {name for name in wheel if name.split("/")[0].endswith(".dist-info")}
    assert set(wheel) - described == wanted
    ends = {name.split("/", 1)[1] for name in described}
    assert ends == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}


def test_what_is_shipped_is_small_text(wheel):
    for name, content in wheel.items():
        assert len(content) < 200_000, name
        content.decode("utf-8")

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import basinbridge

REQUIRED = ("filelock", "torch", "numpy", "scipy", "safetensors")
# What the extra `cli` brings, by the name one imports.
OF_THE_SHELL = {
    "typer",
    "click",
    "rich",
    "matplotlib",
    "sklearn",
    "datasets",
    "pandas",
    "pyarrow",
    "kornia",
    "PIL",
}
# These parts are for the shell, and may import its packages at their top.
SHELL_PARTS = {"report", "cli", "experiments", "__main__"}

REFUSE = """
import importlib, sys

class Refusal:
    def __init__(self, names):
        self.names = names

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"{name} is not in this environment", name=name)

refused, modules = (argument.split(",") for argument in sys.argv[1:])
sys.meta_path.insert(0, Refusal(frozenset(refused)))
for name in modules:
    importlib.import_module(name)
loaded = {name.partition(".")[0] for name in sys.modules}
assert not loaded & set(refused), sorted(loaded & set(refused))
"""


def needed_distributions():
    """The requirements of the library and all that these need themselves."""
    needed, waiting = set(), list(REQUIRED)
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in needed:
            continue
        needed.add(name)
        try:
            lines = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        requirements = [Requirement(line) for line in lines]
        waiting += [
            requirement.name
            for requirement in requirements
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        ]
    return needed


def refused_modules():
    """Every importable third-party name that an environment of the library alone would lack."""
    kept = needed_distributions() | {"basinbridge"}
    return {
        module
        for module, owners in packages_distributions().items()
        if not kept & {canonicalize_name(owner) for owner in owners}
    }


def library_modules():
    root = Path(basinbridge.__file__).parent
    modules = []
    for file in sorted(root.rglob("*.py")):
        parts = file.relative_to(root).with_suffix("").parts
        if parts[0] not in SHELL_PARTS:
            modules.append(".".join(("basinbridge", *parts)).removesuffix(".__init__"))
    return modules


def import_without(refused, modules):
    command = [sys.executable, "-c", REFUSE, ",".join(sorted(refused)), ",".join(modules)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_requirements_are_these_few():
    lines = distribution("basinbridge").requires or []
    always = [Requirement(line) for line in lines if "extra" not in line]
    assert {requirement.name for requirement in always} == set(REQUIRED)


def test_the_library_imports_with_its_requirements_alone():
    refused = refused_modules()
    assert refused >= OF_THE_SHELL
    assert not refused & set(REQUIRED)
    modules = library_modules()
    assert {"basinbridge", "basinbridge.errors"} <= set(modules)
    done = import_without(refused, modules)
    assert done.returncode == 0, done.stderr


def test_a_refused_package_is_really_refused():
    """Otherwise the test above could not fail."""
    done = import_without({"rich"}, ["rich"])
    assert done.returncode != 0
    assert "rich is not in this environment" in done.stderr

"""What the documentation shows runs, and what it points to is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.S)


def test_the_tutorial_runs_from_top_to_bottom(capsys):
    space = {}
    for block in blocks(ROOT / "docs" / "tutorial.md", "python"):
        exec(compile(block, "tutorial.md", "exec"), space)
    curves = [line for line in capsys.readouterr().out.splitlines() if "worst" in line]
    worst = {line.split(":")[0]: float(line.split("worst ")[1].split()[0]) for line in curves}
    assert worst["as numbered"] < worst["aligned"]
    # What the text says of them.
    assert worst == pytest.approx({"as numbered": 87, "aligned": 94}, abs=1)
    assert space["on_the_line"].minimum_accuracy == pytest.approx(0.16, abs=0.01)
    assert space["on_the_aligned_line"].minimum_accuracy == pytest.approx(0.90, abs=0.01)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_their_options_exist(page):
    import typer.main

    from basinbridge.cli.app import app

    commands = typer.main.get_command(app).commands
    text = "\n".join(blocks(page, "sh")).replace("\\\n", " ")
    for line in text.splitlines():
        found = re.search(r"\bbasinbridge ([a-z-]+)(.*)", line.partition("#")[0])
        if found is None or "pip install" in line:
            continue
        name, rest = found.groups()
        assert name in commands, line
        parameters = commands[name].params
        known = {option for one in parameters for option in (*one.opts, *one.secondary_opts)}
        used = set(re.findall(r"(?<=\s)--[a-z-]+", rest))
        assert used <= known, f"{line}: {used - known}"

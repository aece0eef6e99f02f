"""The README keeps its word: its example runs, its commands exist, its links lead somewhere."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gpunet.backend import use_backend

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CODE = (ROOT / "docs" / "code.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def test_the_api_example_learns_the_digits():
    (example,) = blocks("python")
    printed = io.StringIO()
    with use_backend("numpy"), contextlib.redirect_stdout(printed):
        exec(compile(example, "README.md", "exec"), {})
    assert float(printed.getvalue().split()[-1]) > 0.9
    assert len([line for line in example.splitlines() if line.strip()]) <= 22


def test_there_are_two_commands_and_each_sets_itself_up():
    commands = blocks("bash")
    assert len(commands) == 2
    for command in commands:
        steps = command.strip().split(" && ")
        assert steps[0] == "python3 -m venv .venv"
        assert steps[1].startswith(".venv/bin/pip install")
    assert commands[0].strip().endswith(".venv/bin/gpunet train")
    assert commands[1].strip().endswith("-m pytest -n auto")


def test_links_lead_to_files():
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_it_is_a_screen_or_two():
    assert len(README.splitlines()) <= 100


def test_it_leads_to_every_guide():
    """To those of the first level; what they lead to is the site's."""
    guides = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")}
    inside = {f"docs/{name}.md" for name in ("index", "examples", "contributing", "changelog")}  # the site's own
    assert sorted(guides - inside - set(re.findall(r"\]\(([^)#]+)", README))) == []


def test_the_reading_table_names_every_part_of_the_package():
    named = set(re.findall(r"^\| `gpunet/(\w+)", CODE, flags=re.MULTILINE))
    parts = {path.parent.name for path in (ROOT / "gpunet").glob("*/__init__.py")}
    assert parts <= named


@pytest.mark.slow
def test_the_first_command_works_in_a_fresh_environment(tmp_path):
    """The steps of the command, with the environment elsewhere and one epoch: `.ci/run` runs it word for word."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def run(*command: object) -> str:
        done = subprocess.run(
            [str(word) for word in command], cwd=tmp_path, env=environment, text=True, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    python = tmp_path / "venv" / "bin" / "python"
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    run(python, "-m", "pip", "install", "--quiet", ROOT)
    assert "test accuracy" in run(tmp_path / "venv" / "bin" / "gpunet", "train", "--epochs", 1, "--out", "run")
    assert "test accuracy" in run(tmp_path / "venv" / "bin" / "gpunet", "evaluate", "run")

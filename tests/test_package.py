"""The package as a whole: its version, and that nothing heavy is imported before it is needed."""

import resource
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import hume_ssl

ROOT = Path(__file__).resolve().parents[1]


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert hume_ssl.__version__ == project["version"]
    assert f"version: {project['version']}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_nothing_heavy_at_import() -> None:
    code = (
        "import sys, hume_ssl, hume_ssl.config, hume_ssl.run, hume_ssl.progress, hume_ssl.cli\n"
        "print([m for m in ('torch', 'numpy', 'pandas', 'scipy', 'sklearn', 'faiss', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"


def test_unknown_names_are_refused_and_known_ones_listed() -> None:
    with pytest.raises(AttributeError, match="discoverer"):
        _ = hume_ssl.discoverer
    assert {"discover", "find_consensus", "select", "train_fixmatch", "evaluate", "assign"} <= set(dir(hume_ssl))


def test_help_takes_at_most_three_times_the_import_of_typer_and_rich() -> None:
    """Best of several, in CPU seconds: other programs on the machine do not count."""
    commands = {
        "base": ["-c", "import typer, rich"],
        "help": ["-m", "hume_ssl", "--help"],
    }
    best = {name: min(cpu_seconds(arguments) for _ in range(7)) for name, arguments in commands.items()}
    assert best["help"] < 3 * best["base"], best


def cpu_seconds(arguments: list[str]) -> float:
    """CPU seconds of `python ARGUMENTS`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], capture_output=True, check=True, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

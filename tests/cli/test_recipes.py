"""`recipes ls|show|cp`."""

import json
from pathlib import Path

from typer.testing import CliRunner

from hume_ssl.cli.recipes import app
from hume_ssl.config import load_recipe, recipe_names, recipe_path
from hume_ssl.errors import InputError


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def refusal(*arguments: str) -> str:
    error = CliRunner().invoke(app, list(arguments)).exception
    assert isinstance(error, InputError)
    return str(error)


def test_ls_names_every_recipe_and_its_command() -> None:
    lines = run("ls").splitlines()
    assert {line.split()[0] for line in lines} == set(recipe_names())
    assert [line.split()[1] for line in lines if line.startswith("fixmatch")] == ["train-fixmatch"]
    listed = json.loads(run("ls", "--json"))["recipes"]
    assert {row["name"] for row in listed} == set(recipe_names())
    assert all(row["about"] for row in listed)


def test_show_prints_the_file() -> None:
    assert run("show", "digits") == recipe_path("digits").read_text(encoding="utf-8")


def test_cp_makes_a_copy_that_loads(tmp_path: Path) -> None:
    run("cp", "digits", str(tmp_path / "mine.toml"))
    assert load_recipe(str(tmp_path / "mine.toml"), "discover") == load_recipe("digits", "discover")
    run("cp", "digits", str(tmp_path))
    assert (tmp_path / "digits.toml").read_bytes() == recipe_path("digits").read_bytes()


def test_cp_writes_over_nothing(tmp_path: Path) -> None:
    existing = tmp_path / "digits.toml"
    existing.write_text("mine")
    assert str(existing) in refusal("cp", "digits", str(existing))
    assert str(existing) in refusal("cp", "digits", str(tmp_path))
    assert existing.read_text() == "mine"
    assert "absent" in refusal("cp", "digits", str(tmp_path / "absent" / "x.toml"))
    assert "digits" in refusal("cp", "digts", str(tmp_path / "new.toml"))
    assert not (tmp_path / "new.toml").exists()

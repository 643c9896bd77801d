"""`hume-ssl recipes ls|show|cp`: the recipes that come with the package, and a copy to edit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from hume_ssl.errors import InputError

app = typer.Typer(no_args_is_help=True, help="List, show and copy the built-in recipes.")


@app.command("ls")
def list_recipes(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """List the built-in recipes, with the command that takes each."""
    from hume_ssl.config import load_recipe, recipe_names

    rows = [(name, "discover") for name in recipe_names("discover")]
    rows += [(name, "train-fixmatch") for name in recipe_names("train")]
    abouts = {name: load_recipe(name, "discover" if command == "discover" else "train").about for name, command in rows}
    if as_json:
        print(json.dumps({"recipes": [{"name": n, "command": c, "about": abouts[n]} for n, c in rows]}))
        return
    for name, command in rows:
        print(f"{name:14} {command:15} {abouts[name].strip().partition(chr(10))[0]}")


@app.command("show")
def show(name: Annotated[str, typer.Argument(help="A name from `recipes ls`.")]) -> None:
    """Print a recipe."""
    from hume_ssl.config import recipe_path

    print(recipe_path(name).read_text(encoding="utf-8"), end="")


@app.command("cp")
def copy(
    name: Annotated[str, typer.Argument(help="A name from `recipes ls`.")],
    dest: Annotated[Path, typer.Argument(help="A new file, or a folder to put NAME.toml in.")],
) -> None:
    """Copy a recipe to a file of yours, to edit and to give to --recipe; nothing is written over."""
    from hume_ssl.config import recipe_path

    text = recipe_path(name).read_text(encoding="utf-8")
    path = dest / f"{name}.toml" if dest.is_dir() else dest
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise InputError(f"{path} exists: give the name of a new file") from error
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}: give a file in a folder that exists") from error
    print(f"copied to {path}: edit it, then give it to --recipe")

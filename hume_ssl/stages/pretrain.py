"""`pretrain`: an encoder from the images alone, and the space of all items under it."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hume_ssl.broken import Broken, sentence
from hume_ssl.config import PretrainConfig, PretrainRecipe, load_recipe, override, to_toml
from hume_ssl.devices import pick_device
from hume_ssl.distributed import check_devices, local_device
from hume_ssl.errors import InputError
from hume_ssl.files import sha256_file
from hume_ssl.items import DIGITS, Items, make_split
from hume_ssl.pretrain_config import UNIMPORTANT
from hume_ssl.progress import Progress, Silent, track
from hume_ssl.run import RunFolder, decide
from hume_ssl.stages.pixels import make_pixels, train_pixels, train_size
from hume_ssl.stages.ranks import all_train, processes
from hume_ssl.stages.run_items import absolute_paths, look_at_images, run_items, same_items
from hume_ssl.stages.table import note_broken

if TYPE_CHECKING:
    from hume_ssl.pretrain.loop import Pretrained


def pretrain(
    recipe: PretrainRecipe,
    run: RunFolder,
    say: Callable[[str], None],
    *,
    name: str | None = None,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    show: bool = True,
) -> dict[str, Any]:
    """Train an encoder on the recipe's images; facts for `--json`.

    Args:
        say: takes one line at a time for the user.
        name: of the training; None: that of its network.
        show: progress on stderr.

    Raises InputError: no images, too few of them, another training under that name, a batch that the processes of
    torchrun cannot share, or lightly is not installed.
    """
    from hume_ssl.pretrain.loop import check_batch, need_lightly

    if recipe.data.images is None:
        raise InputError("which images? give --images, a folder, a CSV with filepath, or a uint8 .npy")
    where = pick_device(device, mps=False)
    check_devices(where.type)
    recipe, items, train, broken = _resolved(recipe, gpu=where.type == "cuda", show=show)
    if broken:
        say(f"warning: {sentence(broken, len(items))}; broken.csv has the list")
    config = recipe.pretrain
    name = name or config.network
    check_batch(int(config.batch or 0), int(train.sum()), processes())
    need_lightly()
    stage = f"pretrain/{run.pretraining(name).name}"  # refuses a name that is no folder
    step = decide(run, stage, _identity(recipe, items), resume=resume, overwrite=overwrite)
    facts: dict[str, Any] = {"run": str(run.path), "name": name, "network": config.network}
    paths = {"encoder": str(run.pretrain_encoder(name)), "space": str(run.pretrain_space(name))}
    plan = announcement(config, items, train)
    if dry_run:
        say(f"would {step} {stage} in {run.path}: {plan}; on {where.type}")
        return {**facts, "dry_run": step, "recipe": recipe.model_dump(mode="json")}
    if step == "finished":
        say(f"{run.pretraining(name)} is finished: nothing to do. Next: {next_command(recipe, run, name, items)}")
        return {**facts, **paths, "figures": run.stage(stage)["figures"]}
    look_at_images(items, recipe.data, show=show)
    began = time.monotonic()
    if step == "start":
        run.remove_stage(stage)
    run.begin_stage(stage, _identity(recipe, items), device=where.type)
    run.write_text(run.pretrain_recipe(name), to_toml(recipe))
    if broken:
        note_broken(run, broken, items)
    say(f"{plan}; on {where.type}")
    run.log(f"{step} {stage}: {plan}; {config!r}")
    make_pixels(config, run, items, show=show)
    task = {"pretrain": name, "run": str(run.path.absolute()), "device": str(where), "resume": step == "continue"}
    with all_train(task), track(int(config.steps or 0), f"pretrain ({config.network})", show=show) as progress:
        result = fit(run, task, recipe, items, train, progress)
    _write_space(run, name, result, items, train, str(where), show)
    kept = sorted(run.pretrain_checkpoints(name).glob("*.safetensors"))
    made = [run.pretrain_metrics(name), run.pretrain_encoder(name), run.pretrain_space(name)]
    figures = {**result.history[-1], "collapsed": result.collapsed}
    artefacts = [run.pretrain_recipe(name), *kept, *made]
    after = next_command(recipe, run, name, items)
    run.finish_stage(stage, artefacts, time.monotonic() - began, steps=result.steps, figures=figures, next=after)
    run.log(f"finished {stage}: {figures}")
    for line in outcome(result, int(train.sum())):
        say(line)
    say(f"written to {run.pretraining(name)}: encoder.safetensors, space.npy, metrics.jsonl, checkpoints/")
    say(f"Next: {after}")
    return {**facts, **paths, "steps": result.steps, "figures": figures}


def join(task: Mapping[str, Any]) -> None:
    """Train as the first of several processes does, which asked for it; everything else is in the run folder."""
    run = RunFolder(Path(task["run"]))
    recipe = load_recipe(str(run.pretrain_recipe(task["pretrain"])), "pretrain")
    items, train, _ = _items(recipe)
    fit(run, task, recipe, items, train, Silent())


def fit(
    run: RunFolder,
    task: Mapping[str, Any],
    recipe: PretrainRecipe,
    items: Items,
    train: NDArray[np.bool_],
    progress: Progress,
) -> Pretrained:
    """This process's part in the training, which is all of it without torchrun."""
    from hume_ssl.pretrain.loop import pretrain

    name = task["pretrain"]
    return pretrain(
        train_pixels(recipe.pretrain, run, items),
        config=recipe.pretrain,
        train=train,
        device=local_device(task["device"]),
        checkpoint_dir=run.pretrain_checkpoints(name),
        metrics=run.pretrain_metrics(name),
        resume=task["resume"],
        progress=progress,
        together=processes(),
    )


def announcement(config: PretrainConfig, items: Items, train: NDArray[np.bool_]) -> str:
    """What is trained, on what and for how long; resolved settings."""
    height, width = train_size(config, items)
    n, b, steps = int(train.sum()), int(config.batch or 0), int(config.steps or 0)
    epochs = steps / max(1, n // b)
    mirror = "mirrored half the time" if config.flip else "no mirror"
    return (
        f"{config.network} on {n} train images at {height} x {width} pixels: {steps} steps of {b} images "
        f"({epochs:.0f} epochs), two views each ({config.views}, {mirror})"
    )


def outcome(result: Pretrained, n: int) -> list[str]:
    """What came out, in lines for the user."""
    last = result.history[-1]
    lines = [
        f"trained {result.steps} steps; loss {last['loss']:.3f}; {last['found_again']:.1%} of the items looked at are "
        f"nearest to themselves in another view; spread {last['spread']:.2f} (0 = collapsed, 1 = even), effective rank "
        f"{last['effective_rank']:.0f}"
    ]
    if result.collapsed:
        lines.append(
            "warning: the encoder has collapsed, all images look alike to it, and no classes will be found: give a "
            "lower --set pretrain.lr, a larger --batch, or another --seed"
        )
    return lines


def next_command(recipe: PretrainRecipe, run: RunFolder, name: str, items: Items) -> str:
    """The `discover` that takes the encoder as its labeller, to paste."""
    data, encoder = recipe.data, f"pretrained:{recipe.pretrain.network}@{run.pretrain_encoder(name)}"
    words = ["hume-ssl", "discover", "--images", str(data.images), "--classes", "10" if data.images == DIGITS else "K"]
    # Grey: on digits and usps the encoder judges itself as well as kernel:rbf does, and free sizes find the better of
    # two optima (tests/bench/pretrain.py).
    words += ["--encoder", encoder]
    words += ["--prior", "free"] if items.channels == 1 else ["--encoder", "torchvision:resnet50"]
    return shlex.join(words) + same_items(data) + run.flag


def _resolved(
    recipe: PretrainRecipe, *, gpu: bool, show: bool
) -> tuple[PretrainRecipe, Items, NDArray[np.bool_], list[Broken]]:
    """The recipe with everything decided that depends on the images, absolute paths; the items, which to learn from,
    and what was left out."""
    recipe = override(recipe, absolute_paths(recipe.data))
    items, train, broken = _items(recipe, show)
    config = recipe.pretrain.resolve(max(items.common_size), items.channels, int(train.sum()), gpu=gpu)
    return recipe.model_copy(update={"pretrain": config}), items, train, broken


def _items(recipe: PretrainRecipe, show: bool = False) -> tuple[Items, NDArray[np.bool_], list[Broken]]:
    data = recipe.data
    items, broken = run_items(data, {}, show=show)
    train = make_split(len(items), data.split, data.split_seed, items.filepaths, items.root) == "train"
    return items, np.asarray(train), broken


def _identity(recipe: PretrainRecipe, items: Items) -> dict[str, object]:
    """What the encoder follows from: images, split and settings."""
    data = recipe.data
    identity: dict[str, object] = {"data.images": items.hash, "data.split": data.split}
    if isinstance(data.split, str):
        identity["data.split"] = sha256_file(Path(data.split))
    identity["data.split_seed"] = data.split_seed
    settings = recipe.pretrain.model_dump(mode="json", exclude=UNIMPORTANT)
    return identity | {f"pretrain.{key}": value for key, value in settings.items()}


def _write_space(
    run: RunFolder, name: str, result: Pretrained, items: Items, train: NDArray[np.bool_], device: str, show: bool
) -> None:
    """The encoder's file, and the space as `--encoder` makes it from that file."""
    from hume_ssl.spaces.embed import embed
    from hume_ssl.spaces.pretrained_encoder import FORMAT
    from hume_ssl.spaces.spec import parse_spec

    path = run.pretrain_encoder(name)
    run.write_safetensors(path, result.encoder, {"format": FORMAT, **result.facts})
    spec = parse_spec(f"pretrained:{result.facts['network']}@{path}")
    with track(len(items), f"space ({result.facts['network']})", show=show) as progress:
        embed(items, spec, train, device=device, progress=progress, path=run.pretrain_space(name))

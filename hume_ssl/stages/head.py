"""`train-fixmatch` with a head: when it is taken, of which encoder, and the views it is trained on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hume_ssl.config import DiscoverRecipe, TrainConfig, TrainRecipe, override
from hume_ssl.errors import InputError
from hume_ssl.files import locked
from hume_ssl.items import Items
from hume_ssl.progress import track
from hume_ssl.run import RunFolder
from hume_ssl.spaces.spec import HEAD_KINDS, check_spec, parse_spec, split_spec
from hume_ssl.stages.inputs import full_weights
from hume_ssl.stages.table import stored_recipe, stored_spaces

if TYPE_CHECKING:
    from torch import Tensor

    from hume_ssl.train.feature_views import ViewPlan
    from hume_ssl.train.sources import Source

LARGE = 64  # pixels: without a GPU, networks that take longer images are out of reach, and a head is not
JUDGE = "judge"  # the value of train.encoder that means the run's own judge space


def with_head(recipe: TrainRecipe, run: RunFolder, items: Items, device: str) -> TrainRecipe:
    """The recipe with a head where that is best, and the encoder of a head decided.

    "auto" is a head where there are no images, and where there is no GPU and images are longer than 64 pixels. The
    encoder is the run's: its first judge that is a network, else its labeller if that is one, else the judge space as
    it is. Weights have absolute paths afterwards.

    Raises InputError for an encoder that cannot be used.
    """
    found = run_encoder(stored_recipe(run)) if items.has_images else None
    if recipe.train.network == "auto":
        slow = items.has_images and device == "cpu" and max(items.common_size) > LARGE
        if items.has_images and not slow:
            return recipe
        recipe = override(recipe, {"train.network": "head"})
    if recipe.train.network != "head":
        return recipe
    encoder = recipe.train.encoder
    if not encoder:
        encoder = found or JUDGE
    if encoder != JUDGE:
        encoder = full_weights(encoder)
        check_encoder(encoder, run, items, recipe.train)
    return override(recipe, {"train.encoder": encoder})


def run_encoder(recipe: DiscoverRecipe) -> str | None:
    """The encoder of a run whose views a head is best trained on; None where none is a network."""
    encoders = list(recipe.spaces.encoders)
    if recipe.data.labeller is None:  # the first is the labeller then, and judges are the larger networks
        encoders = encoders[1:] + encoders[:1]
    return next((text for text in encoders if split_spec(text).kind in HEAD_KINDS), None)


def check_encoder(encoder: str, run: RunFolder, items: Items, config: TrainConfig) -> None:
    """Raise InputError for an encoder that gives no views, before anything is written."""
    from hume_ssl.spaces.embed import width_of
    from hume_ssl.train.feature_views import describe_views, views_name

    spec = parse_spec(encoder)
    if not run.space(views_name(describe_views(items, spec, plan_of(config)))).is_file():
        width_of(spec)


def weights_hashes(config: TrainConfig) -> dict[str, str]:
    """What a training's identity holds of weights files: the hash of the network's, or of the head's encoder's."""
    from hume_ssl.files import sha256_file

    if config.network == "head":
        what, text = "weights of the encoder", config.encoder
    else:
        what, text = "weights of the network", config.network
    weights = parse_spec(text).weights if "@" in text else None
    if weights is None:
        return {}
    check_spec(parse_spec(text))
    return {what: sha256_file(weights.expanduser())}


def plan_of(config: TrainConfig) -> ViewPlan:
    """The views that the settings ask for; the settings need not be resolved to check an encoder."""
    from hume_ssl.train.feature_views import ViewPlan

    return ViewPlan(
        weak=config.weak_views,
        strong=config.strong_views,
        augment=config.augment,
        flip=config.flip is not False,
        precision=config.precision,
    )


def make_views(
    config: TrainConfig, run: RunFolder, items: Items, device: str, say: Callable[[str], None], *, show: bool = True
) -> None:
    """Make the views that the head will be trained on, where they are not there yet: an interrupted embedding goes on.

    Args:
        config: resolved settings, by `with_head` too.
        device: of the encoder.
        say: takes one line at a time for the user.
        show: progress on stderr.
    """
    if config.encoder == JUDGE:
        why = "the run has no network among its encoders" if items.has_images else "the run has no images"
        say(f"{why}: a head is trained on the judge space, with noise for its strong views")
        return
    import torch

    from hume_ssl.train.feature_views import describe_views, embed_views, views_name

    spec, plan = parse_spec(config.encoder), plan_of(config)
    facts = describe_views(items, spec, plan)
    path = run.space(views_name(facts))
    there = "there already" if path.is_file() else "made once"
    say(
        f"a head is trained on {plan.count} views of each image by {config.encoder} (as it is, {plan.weak} weak, "
        f"{plan.strong} strong), {there}: {path}"
    )
    path.parent.mkdir(exist_ok=True)
    with locked(path.parent):  # a second training waits for the views that the first one makes, and finds them
        with track(len(items), f"views ({config.encoder})", show=show) as progress:
            embed_views(items, spec, plan, path, device=torch.device(device), progress=progress)
        known = run.read_json(run.views_json) if run.views_json.is_file() else {}
        if not isinstance(known, dict):
            raise InputError(f"{run.views_json} is damaged: remove it, it is written again")
        if path.name not in known:
            run.write_json(run.views_json, {**known, path.name: facts})


def head_source(config: TrainConfig, run: RunFolder, items: Items, train: NDArray[np.bool_], device: str) -> Source:
    """What the head is trained on, after `make_views`.

    Args:
        config: resolved settings, by `with_head` too.
        train: (n,) True for train items.
        device: where vectors come out; the CPU where worker processes make them.
    """
    import torch

    from hume_ssl.train.feature_sources import NoisySource, ViewSource

    where = torch.device("cpu" if config.workers else device)
    if config.encoder == JUDGE:
        return NoisySource(stored_spaces(run)[1][0], train, config.feature_noise, where)
    return ViewSource(_views(config, run, items), config.weak_views, where)


def whole_network(
    config: TrainConfig, run: RunFolder, items: Items, head: tuple[dict[str, Tensor], dict[str, Any]]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State dict and facts of a trained head together with its encoder; of a head on a space, those of the head."""
    if config.encoder == JUDGE:
        return head
    from hume_ssl.train.encoded_head import join
    from hume_ssl.train.feature_sources import never_negative

    return join(*head, parse_spec(config.encoder), rooted=never_negative(_views(config, run, items)))


def _views(config: TrainConfig, run: RunFolder, items: Items) -> NDArray[np.float16]:
    from hume_ssl.train.feature_views import describe_views, stored_views, views_name

    return stored_views(run.space(views_name(describe_views(items, parse_spec(config.encoder), plan_of(config)))))

"""What training's settings are where they say "auto", as data; and which settings have no effect beside others."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hume_ssl.train_config import TrainConfig

# What "auto" is for a network. Those of the wide networks are published (of wrn-28-8: for CIFAR-100), less the number
# of steps (2**20), and torchvision's networks from scratch are trained like them; with weights from a file, they are
# fine-tuned ("torchvision@") with the published settings for that (USB, arXiv:2208.07204). The small network is for two
# CPU cores: with a higher rate, more weight on the unlabelled loss and a lower threshold it gets further in few steps.
SGD: dict[str, float | str] = {
    "optimiser": "sgd", "layer_decay": 1.0, "weight_decay": 5e-4, "ema": 0.999, "threshold": 0.95,
}  # fmt: skip
WIDE = SGD | {"steps": 65536, "batch": 64, "mu": 7, "lr": 0.03, "lambda_u": 1.0}
AUTO: dict[str, dict[str, float | str]] = {
    "small-cnn": SGD | {"steps": 1500, "batch": 32, "mu": 7, "lr": 0.1, "lambda_u": 2.0, "threshold": 0.7},
    # Frozen features tell classes apart less surely than trained ones: at 0.95 too few of them would count.
    "head": SGD | {"steps": 1000, "batch": 64, "mu": 7, "lr": 0.03, "lambda_u": 1.0, "threshold": 0.8},
    "wrn-28-2": WIDE,
    "wrn-28-8": WIDE | {"weight_decay": 1e-3},
    "torchvision": WIDE,
    "torchvision@": {
        "optimiser": "adamw", "lr": 5e-4, "layer_decay": 0.5, "weight_decay": 5e-4, "ema": 0.0, "threshold": 0.95,
        "steps": 204_800, "batch": 8, "mu": 1, "lambda_u": 1.0,
    },
}  # fmt: skip
# Networks for GPUs: with these they end in minutes.
ON_CPU: dict[str, dict[str, float]] = {
    "wrn-28-2": {"steps": 200, "mu": 3},
    "wrn-28-8": {"steps": 50, "mu": 3},
    "torchvision": {"steps": 200, "mu": 3},
    "torchvision@": {"steps": 500},
}
# The published schedule, whatever the device: 2**20 steps (arXiv:2001.07685, table 4).
PUBLISHED: dict[str, float] = {"steps": 1 << 20, "batch": 64, "mu": 7, "lr": 0.03, "lambda_u": 1.0, "threshold": 0.95}
PAPER: dict[str, dict[str, float]] = {
    "small-cnn": PUBLISHED,
    "head": PUBLISHED,
    "wrn-28-2": PUBLISHED,
    "wrn-28-8": PUBLISHED,
    "torchvision": PUBLISHED,
    "torchvision@": {"steps": 204_800},
}
LARGEST, PRETRAINED = 32, 224  # pixels that "auto" brings larger images down to; with weights from a file


def settings_of(network: str) -> str:
    """The key of a network in the tables here; with an @ where its weights come from a file."""
    if network.startswith("torchvision:"):
        return "torchvision@" if "@" in network else "torchvision"
    return network


def auto_values(network: str, device: str, preset: str) -> dict[str, float | str]:
    """What "auto" stands for in each key that depends on the network alone."""
    kind = settings_of(network)
    on_device = ON_CPU.get(kind, {}) if device == "cpu" else {}
    return AUTO[kind] | on_device | (PAPER[kind] if preset == "paper" else {})


def without_effect(config: TrainConfig, device: str) -> list[str]:
    """What the user set and nothing reads, one line each: keys that are not as they would be by themselves.

    Args:
        config: resolved settings.
        device: "cpu" or another, as in `resolve`.
    """
    head, judge = config.network == "head", config.encoder == "judge"
    unread: dict[str, str] = {}
    if config.algorithm in ("freematch", "softmatch", "supervised"):
        unread["threshold"] = f"{config.algorithm} has no fixed threshold"
    for key, readers in READERS.items():
        if config.algorithm not in readers:
            unread[key] = f"it belongs to {' and '.join(readers)}"
    if config.algorithm == "supervised":
        unread |= dict.fromkeys(("mu", "lambda_u", "exclude_labelled"), "supervised learns from labelled items alone")
    if head:
        unread["size"] = "a head reads features, not pixels"
    else:
        unread["encoder"] = f"the network is {config.network}; a head has an encoder (train.network=head)"
    if judge or not head:
        unread |= dict.fromkeys(("weak_views", "strong_views"), "they are those of a head on the views of an encoder")
    if not (head and judge):
        unread["feature_noise"] = "it is that of a head on the judge space"
    elif head:
        unread |= dict.fromkeys(("augment", "flip"), "a head on a space has no images to change")
    usual = {key: field.default for key, field in type(config).model_fields.items()}
    usual |= auto_values(config.network, device, config.preset) | {"size": min(int(config.size), LARGEST)}
    changed = [key for key in unread if usual[key] not in ("auto", getattr(config, key))]
    return [f"train.{key} = {getattr(config, key)} has no effect: {unread[key]}" for key in changed]


READERS = {
    "fairness": ("freematch",),
    "softness": ("softmatch",),
    "statistics_decay": ("freematch", "softmatch"),
}

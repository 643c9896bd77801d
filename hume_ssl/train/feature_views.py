"""Weak and strong views of every image through a frozen encoder, embedded once: what a head is trained on in seconds.

Images are decoded once. As they are, they go to the encoder as it asks for; views are changed at the images' own size
or the encoder's input size, whichever is smaller, brought to the latter, and encoded chunk by chunk. What a chunk holds
follows from its number and the plan's seed alone, so an embedding that was killed goes on to the same bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as tvf

from hume_ssl import files
from hume_ssl.errors import InputError
from hume_ssl.growing import GrowingArray
from hume_ssl.items import Items
from hume_ssl.progress import Progress, Silent
from hume_ssl.search.precision import has_bfloat16
from hume_ssl.spaces.decode import image_batches, in_batches
from hume_ssl.spaces.encode import cpu_batch
from hume_ssl.spaces.encoders import build_network, build_preprocess, output_width
from hume_ssl.spaces.preprocess import Preprocess
from hume_ssl.spaces.spec import HEAD_KINDS, EncoderSpec, check_spec
from hume_ssl.train.batches import generator
from hume_ssl.train.views import apply_strong, apply_weak, draw_strong, draw_weak

CHUNK = 64  # items drawn together; part of what the bytes follow from
BATCH_GPU = 512  # images encoded at once
BF16_ERROR = 0.03  # largest mean relative error of a vector in bfloat16; squeezenet1_1 has 0.0125
FORMAT = 2  # of the random draws: under a higher number, files made by an older version are not used


@dataclass(frozen=True)
class ViewPlan:
    """Which views there are to be.

    Attributes:
        weak, strong: how many of each kind an item gets, beside the image as it is.
        augment: preset of the views.
        flip: whether views may be mirror images.
        seed: of the views; not that of a training, so that a second training embeds nothing.
        precision: float32, bf16, or auto: bf16 where the device computes in it and the error is small.
    """

    weak: int = 4
    strong: int = 8
    augment: str = "fixmatch-paper"
    flip: bool = True
    seed: int = 0
    precision: str = "auto"

    @property
    def count(self) -> int:
        """Views an item: the image as it is, the weak ones, the strong ones, in this order."""
        return 1 + self.weak + self.strong


def describe_views(items: Items, spec: EncoderSpec, plan: ViewPlan) -> dict[str, object]:
    """All that the values follow from, up to rounding: what a stored file is recognised by.

    Raises InputError where there are no images, or no network to encode them.
    """
    if not items.has_images:
        raise InputError(f"views by the encoder {spec.text!r} need images; give them with --images")
    if spec.kind not in HEAD_KINDS:
        raise InputError(f"views need a network, and {spec.text!r} is none: write torchvision:squeezenet1_1?size=128")
    check_spec(spec)
    facts: dict[str, object] = {"format": FORMAT, "encoder": spec.text, "items": items.hash}
    if spec.weights is not None:  # by its content: the same file in another place is the same encoder
        facts["encoder"] = spec.without_path
        facts["weights_sha256"] = files.sha256_file(spec.weights.expanduser())
    preprocess = build_preprocess(spec)
    facts |= {"preprocessing": dict(vars(preprocess)), "changed_at": working_size(items, preprocess)}
    return facts | dataclasses.asdict(plan)


def views_name(facts: dict[str, object]) -> str:
    """views-HASH, the name of the space with these facts."""
    text = json.dumps(files.plain(facts), sort_keys=True)
    return f"views-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def working_size(items: Items, preprocess: Preprocess) -> tuple[int, int]:
    """(h, w) at which images are changed: their most common size, or the encoder's input size where that is smaller.

    So small images are changed at the size that FixMatch changes them at, which is cheap; and of large ones no more
    than the encoder sees.
    """
    height, width = items.common_size
    return (height, width) if height * width < preprocess.size[0] * preprocess.size[1] else preprocess.size


def embed_views(
    items: Items,
    spec: EncoderSpec,
    plan: ViewPlan,
    path: Path,
    *,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
    workers: int | None = None,
) -> NDArray[np.float16]:
    """The views of all items at `path`: found there, or made, going on where an earlier call was cut off.

    Args:
        items: n images.
        spec: a network, its weights frozen.
        plan: which views.
        path: .npy file that appears when all is done. Its name must tell encoder, items and plan: see `views_name`.
        device: where the encoder runs.
        progress: advanced by one an item, those already there included.
        workers: processes that decode; None: as many as pay off.

    Returns:
        (n, 1 + weak + strong, d), memory-mapped: of each item the plain image, its weak views, its strong views.

    Raises:
        InputError: no images, or no network; an image that cannot be read; too little room on the disk; an encoder
            whose values are no numbers.
    """
    facts, progress, device = describe_views(items, spec, plan), progress or Silent(), torch.device(device)
    if path.is_file():
        progress.advance(len(items))
        return stored_views(path)
    network, finish = build_network(spec), Finish.of(items, spec, device)
    width = output_width(network, finish.preprocess, spec)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    growing = GrowingArray(path, json.dumps(files.plain(facts), sort_keys=True))
    out = growing.open((len(items), plan.count, width), np.float16)
    done = min(growing.chunks * CHUNK, len(items))
    progress.advance(done)
    batch = cpu_batch(finish.preprocess.size) if device.type == "cpu" else BATCH_GPU
    with torch.inference_mode():
        for pair in image_batches(items, finish.decode, in_batches(range(done, len(items)), CHUNK), workers):
            plain, images = (pixels.to(device) for pixels in pair)
            if "bf16" not in growing.facts:  # the first chunk decides for all of them
                growing.facts["bf16"] = bf16_pays(network, finish.normalise(plain), plan.precision)
            mixed = bool(growing.facts["bf16"])
            views = torch.cat(changed(images, plan, growing.chunks))
            how: dict[str, Any] = {"mixed": mixed, "batch": batch}
            kinds = ((plain, finish.normalise), (views, finish))
            values = torch.cat([encode(network, pixels, make, **how) for pixels, make in kinds])
            if not values.abs().max() <= torch.finfo(torch.float16).max:  # also where it is no number
                raise InputError(f"the encoder {spec.text!r} gives values that are no numbers, or beyond 65,504")
            rows = values.view(plan.count, len(images), width).transpose(0, 1)
            out[done : done + len(images)] = rows.cpu().numpy()
            done += len(images)
            growing.keep(growing.facts)
            progress.advance(len(images))
    assert done == len(items)
    del out
    growing.finish()
    return stored_views(path)


def stored_views(path: Path) -> NDArray[np.float16]:
    """Finished views, memory-mapped. Raises InputError for a file that is not whole."""
    try:
        views = files.read_npy(path)
        if views.dtype != np.float16 or views.ndim != 3 or 0 in views.shape:
            raise InputError(f"{path} is {views.dtype} of shape {views.shape}, and no file of views")
    except InputError as error:
        raise InputError(f"{error}: remove it, and it is made again") from error
    return views


def changed(images: Tensor, plan: ViewPlan, chunk: int) -> list[Tensor]:
    """The plan's weak and strong views of the images (b, 3, h, w) of a chunk, uint8."""
    draws = generator(plan.seed, chunk)
    b, _, h, w = images.shape
    views = []
    for _ in range(plan.weak):
        views.append(apply_weak(images, draw_weak(b, h, w, draws, flip=plan.flip, preset=plan.augment)))
    for _ in range(plan.strong):
        views.append(apply_strong(images, draw_strong(b, h, w, draws, flip=plan.flip, preset=plan.augment)))
    return views


def encode(network: nn.Module, views: Tensor, finish: Callable[[Tensor], Tensor], *, mixed: bool, batch: int) -> Tensor:
    """(m, 3, h, w) uint8 -> (m, d) float32, batch by batch, each made by `finish` into what the network reads."""
    parts = []
    for some in views.split(batch):  # type: ignore[no-untyped-call]
        with torch.autocast(views.device.type, torch.bfloat16, enabled=mixed):
            parts.append(network(finish(some)).float())
    return torch.cat(parts)


@dataclass(frozen=True)
class Both:
    """PIL image -> two of (3, h, w) uint8: as the encoder takes it, and as it is changed; a worker process takes it."""

    plain: Preprocess
    working: Preprocess

    def __call__(self, image: Image.Image) -> tuple[Tensor, Tensor]:
        plain = self.plain(image)
        return plain, plain if self.working == self.plain else self.working(image)


@dataclass(frozen=True)
class Finish:
    """From the size at which images are changed to what the network reads.

    Attributes:
        preprocess: of the encoder.
        size: (h, w) at which images are changed.
        device: of the network.
    """

    preprocess: Preprocess
    size: tuple[int, int]
    device: torch.device

    @classmethod
    def of(cls, items: Items, spec: EncoderSpec, device: torch.device) -> Finish:
        """That of these items and this encoder."""
        preprocess = build_preprocess(spec)
        return cls(preprocess, working_size(items, preprocess), device)

    @property
    def decode(self) -> Both:
        """From an image to what goes to the encoder as it is, and what is changed."""
        if self.size == self.preprocess.size:
            return Both(self.preprocess, self.preprocess)
        bilinear = InterpolationMode.BILINEAR.value
        return Both(
            self.preprocess,
            dataclasses.replace(self.preprocess, resize=self.size, crop=None, interpolation=bilinear),
        )

    def __call__(self, pixels: Tensor) -> Tensor:
        """uint8 (b, 3, *size) -> float32, normalised, at the encoder's input size, channels last."""
        how = self.preprocess
        if self.size != how.size:
            resize = [how.resize] if isinstance(how.resize, int) else list(how.resize)
            pixels = tvf.resize(pixels, resize, interpolation=InterpolationMode(how.interpolation), antialias=True)
            pixels = pixels if how.crop is None else tvf.center_crop(pixels, [how.crop])
        return self.normalise(pixels)

    def normalise(self, pixels: Tensor) -> Tensor:
        """uint8 (b, 3, h, w) -> float32, normalised, channels last."""
        how = self.preprocess
        # In two passes over the pixels; torchvision's normalize took longer than the network's own bf16 half.
        mean, std = (255 * torch.tensor(values, device=pixels.device)[:, None, None] for values in (how.mean, how.std))
        return (pixels.float() - mean).mul_(1 / std).contiguous(memory_format=torch.channels_last)


def bf16_pays(network: nn.Module, images: Tensor, precision: str) -> bool:
    """Whether to encode in bfloat16: as asked, or by default where the device computes in it and the mean relative
    error of these images (b, 3, h, w) is small."""
    if precision != "auto":
        return precision == "bf16"
    if not has_bfloat16(str(images.device)):
        return False
    exact = network(images).float()
    with torch.autocast(images.device.type, torch.bfloat16):
        rounded = network(images).float()
    error = (rounded - exact).norm(dim=1) / exact.norm(dim=1).clamp_min(1e-12)
    return bool(error.mean() <= BF16_ERROR)

"""`embed --list`: which encoders there are, what of them is on this machine, and which pair to take."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from hume_ssl.spaces.choice import PAIRS, PRETRAIN, best_here, on_this_machine
from hume_ssl.spaces.spec import EXTRAS

KINDS = (
    ("kernel", "kernel:rbf[?width=0.7&dim=1024]", "random features of the pixels, fitted to your images"),
    ("pretrained", "pretrained:NETWORK@FILE", "a network of your own, from hume-ssl pretrain"),
    ("torchvision", "torchvision:NAME", "torchvision's classifiers: torchvision.models.list_models()"),
    ("timm", "timm:NAME", "PyTorch Image Models, 1,000 networks: timm.list_pretrained()"),
    ("open_clip", "open_clip:NAME/TAG", "CLIP and its kin: open_clip.list_pretrained()"),
    ("hub", "hub:OWNER/REPO/ENTRY", "torch.hub, as DINOv2 by its authors; runs the repository's own code"),
    ("npy", "npy:FILE", "a space you have: (n, d) floats, a row an image"),
)


def list_encoders(say: Callable[[str], None]) -> dict[str, Any]:
    """Say which kinds of encoders and which pairs there are; facts for `--json`. Asks the network nothing."""
    import torch

    gpu = torch.cuda.is_available()
    kinds = [
        {"kind": kind, "write": form, "what": what, "installed": kind not in EXTRAS or find_spec(kind) is not None}
        for kind, form, what in KINDS
    ]
    say("encoders: KIND:NAME[@WEIGHTS_FILE][?size=PIXELS]; the first is the labeller, the second the judge")
    for one in kinds:
        missing = "" if one["installed"] else f" (pip install 'hume_ssl[{EXTRAS[str(one['kind'])]}]')"
        say(f"  {one['write']:32} {one['what']}{missing}")
    say("pairs, the best first for each kind of images:")
    pairs = []
    for pair in PAIRS:
        here = {text: text == PRETRAIN or on_this_machine(text) for text in (pair.labeller, pair.judge)}
        pairs.append({**vars(pair), "here": all(here.values())})
        say(f"  {pair.of}: {pair.why}")
        for role, text in (("labeller", pair.labeller), ("judge", pair.judge)):
            how = "hume-ssl pretrain --images DIR" if text == PRETRAIN else f"--encoder '{text}'"
            say(f"    {role:8} {how}{'' if here[text] else ' (to be downloaded)'}")
    taken = {}
    for word, colour in (("colour", True), ("grey", False)):
        taken[word] = list(best_here(colour, gpu)[0])
        say(f"hume-ssl discover --images DIR takes, for {word} images on this machine: {' and '.join(taken[word])}")
    return {"gpu": gpu, "kinds": kinds, "pairs": pairs, "taken": taken}

"""The text after --encoder: taken apart, and refused with the nearest valid word."""

from pathlib import Path

import pytest

from hume_ssl.errors import InputError
from hume_ssl.spaces.spec import check_spec, parse_spec, with_weights


def test_every_part() -> None:
    spec = parse_spec("torchvision:squeezenet1_1@../some dir/a@b:c.pth?size=128")
    assert (spec.kind, spec.name, spec.options) == ("torchvision", "squeezenet1_1", {"size": 128})
    assert spec.weights == Path("../some dir/a@b:c.pth")
    spec = parse_spec("kernel:rbf?width=1.5&dim=64&size=8&centre=false&seed=3")
    assert spec.weights is None and spec.text.startswith("kernel:rbf?")
    assert spec.options == {"width": 1.5, "dim": 64, "size": 8, "centre": False, "seed": 3}
    assert parse_spec("kernel:rbf").options == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kernal:rbf", "did you mean 'kernel'"),
        (
            "vgg:vgg16",
            r"unknown encoder kind 'vgg'.*\(known: kernel, torchvision, timm, open_clip, hub, pretrained, npy\)",
        ),
        ("", "unknown encoder kind"),
        ("kernel", "names no kernel encoder"),
        ("kernel:rfb", "did you mean 'rbf'"),
        ("torchvision:resnet81", "did you mean 'resnet"),
        ("torchvision:resnet18@", "without a weights file"),
        ("kernel:rbf@file.pth", "leave out the @"),
        ("kernel:rbf?wdith=1", "did you mean 'width'"),
        ("torchvision:resnet18?size=big", "'big'; it takes a whole number from 1 up"),
        ("torchvision:resnet18?size=0", "'0'"),
        ("torchvision:resnet18?size", "''"),
        ("kernel:rbf?width=-1", "a number above 0"),
        ("kernel:rbf?width=nan", "a number above 0"),
        ("kernel:rbf?centre=maybe", "true or false"),
        ("kernel:rbf?dim=8&dim=9", "twice"),
    ],
)
def test_bad_text_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parse_spec(text)
    assert "\n" not in str(caught.value)


def test_a_weights_file_is_looked_for_only_when_checked(tmp_path: Path) -> None:
    spec = parse_spec(f"torchvision:resnet18@{tmp_path / 'gone.pth'}")
    with pytest.raises(InputError, match=r"gone\.pth"):
        check_spec(spec)


@pytest.mark.parametrize("path", ["w.pth", "./w.pth", "a//w.pth", "a/./w@2.pth"])
def test_the_path_of_a_weights_file_however_written_is_found_in_the_text(path: str) -> None:
    spec = parse_spec(f"torchvision:resnet18@{path}?size=32")
    assert spec.without_path == "torchvision:resnet18?size=32"
    assert with_weights(spec, "/x/w.pth") == "torchvision:resnet18@/x/w.pth?size=32"
    assert with_weights(parse_spec("torchvision:resnet18?size=32"), "/x") == "torchvision:resnet18?size=32"

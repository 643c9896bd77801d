"""Networks: shapes, stems by size, weights by seed; and the preprocessing that goes with them."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from hume_ssl.images import to_pixels
from hume_ssl.pretrain.network import OneChannel, build_contrasted, build_encoder, preprocess_of


@pytest.mark.parametrize("side", [8, 16, 28, 40])
def test_the_small_network_takes_small_images(side):
    encoder = build_encoder("small-cnn", 1, (side, side))
    assert encoder(torch.rand(2, 1, side, side)).shape == (2, 128)


@pytest.mark.parametrize(("side", "small"), [(32, True), (64, True), (96, False)])
def test_a_resnet_has_a_stem_for_small_images(side, small):
    encoder = build_encoder("resnet18", 3, (side, side))
    assert encoder.conv1.kernel_size == ((3, 3) if small else (7, 7))
    assert isinstance(encoder.maxpool, nn.Identity) == small
    assert encoder.eval()(torch.rand(1, 3, side, side)).shape == (1, 512)


def test_weights_follow_from_the_seed_and_leave_the_generator_alone():
    how = {"channels": 1, "size": (8, 8), "projection": 16, "statistics": (torch.tensor([0.5]), torch.tensor([0.2]))}
    torch.manual_seed(0)
    first = build_contrasted("small-cnn", seed=3, **how)
    drawn = torch.rand(1)
    second, other = build_contrasted("small-cnn", seed=3, **how), build_contrasted("small-cnn", seed=4, **how)
    states = [network.state_dict() for network in (first, second, other)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["projector.0.weight"], states[2]["projector.0.weight"])
    torch.manual_seed(0)
    assert torch.equal(torch.rand(1), drawn)


def test_the_space_of_an_image_is_what_training_saw():
    """Decoded as colour and normalised, a grey image gives the features of its grey pixels."""
    statistics = torch.tensor([0.3]), torch.tensor([0.2])
    model = build_contrasted("small-cnn", channels=1, size=(8, 6), projection=4, seed=0, statistics=statistics).eval()
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 12), dtype=np.uint8))
    preprocess = preprocess_of((8, 6), (0.3,), (0.2,))
    pixels = torch.from_numpy(to_pixels(image, 8, 6, 1).copy())[None, None]
    with torch.inference_mode():
        theirs = OneChannel(model.encoder)(preprocess.normalise(preprocess(image)[None]))
        torch.testing.assert_close(theirs, model.features(pixels.float() / 255), rtol=1e-4, atol=1e-5)

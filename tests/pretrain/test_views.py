"""Views: of the same shape, each image by its own draw, the same for the same seed and step, and told apart by kind."""

import pytest
import torch

from hume_ssl.pretrain.views import Draw, apply_views, blurred, coloured, draw_views, rows, thickened
from hume_ssl.train.batches import generator


def images(b=6, c=1, h=12, w=10):
    return torch.randint(0, 256, (b, c, h, w), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def drawn(preset, b=6, h=12, w=10, step=0, **how):
    return draw_views(b, h, w, generator(1, step), preset=preset, flip=how.pop("flip", False), **how)


@pytest.mark.parametrize(("preset", "channels"), [("strokes", 1), ("photos", 3), ("photos", 1), ("strokes", 3)])
def test_views_follow_from_seed_and_step_and_each_image_from_its_own_draw(preset, channels):
    x = images(c=channels)
    views = apply_views(x, drawn(preset))
    assert views.shape == x.shape and views.dtype == torch.float32
    assert torch.equal(views, apply_views(x, drawn(preset)))
    assert not torch.equal(views, apply_views(x, drawn(preset, step=1)))
    part = slice(2, 5)
    torch.testing.assert_close(apply_views(x[part], rows(drawn(preset), part)), views[part], rtol=0, atol=1e-6)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    shuffled = Draw(*(field[order] for field in drawn(preset)))
    torch.testing.assert_close(apply_views(x[order], shuffled), views[order], rtol=0, atol=1e-6)


def test_a_draw_that_changes_nothing_gives_the_image():
    x = images(c=3)
    place = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]).repeat(6, 1, 1)
    still = drawn("photos")._replace(
        place=place, colour=torch.tensor([1.0, 1, 1, 0]).repeat(6, 1), grey=torch.zeros(6), blur=torch.zeros(6)
    )
    torch.testing.assert_close(apply_views(x, still), x / 255, rtol=0, atol=1e-5)


def test_mirrored_halves_the_time_and_only_if_asked():
    """A mirror turns the sign of the determinant; without one it is the volume of a scaling, positive."""
    signs = torch.linalg.det(drawn("strokes", b=1000, flip=True).place[:, :, :2]).sign()
    assert 400 < (signs < 0).sum() < 600
    assert (torch.linalg.det(drawn("strokes", b=1000).place[:, :, :2]) > 0).all()


def test_strength_widens_the_views():
    weak, strong = drawn("strokes", b=500, strength=0.5), drawn("strokes", b=500, strength=1.5)
    identity = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])
    assert (weak.place - identity).abs().mean() < (strong.place - identity).abs().mean() / 2
    assert weak.bend.std() < strong.bend.std() / 2


def test_strokes_by_hand():
    """One bright pixel: share 1 makes its 3 x 3 neighbourhood bright, -1 takes it away, 1/2 halves what is added."""
    dot = torch.zeros(1, 1, 5, 5)
    dot[..., 2, 2] = 1
    block = torch.zeros(1, 1, 5, 5)
    block[..., 1:4, 1:4] = 1
    share = torch.ones(1, 1, 1, 1)
    assert torch.equal(thickened(dot, share), block)
    assert torch.equal(thickened(dot, -share), torch.zeros_like(dot))
    assert torch.equal(thickened(dot, share / 2), (dot + block) / 2)
    assert torch.equal(thickened(dot, 0 * share), dot)


def test_colour_by_hand():
    """A third of a turn about the grey axis hands red to green, green to blue, blue to red; grey is the luma."""
    colour = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    turned = coloured(colour, torch.tensor([[1.0, 1.0, 1.0, 2 * torch.pi / 3]]), torch.zeros(1))
    torch.testing.assert_close(turned, colour[:, [2, 0, 1]], rtol=0, atol=1e-6)
    none = torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    torch.testing.assert_close(coloured(colour, none, torch.zeros(1)), colour, rtol=0, atol=1e-6)
    luma = (colour * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True).expand_as(colour)
    torch.testing.assert_close(coloured(colour, none, torch.ones(1)), luma, rtol=0, atol=1e-6)
    halved = coloured(colour, torch.tensor([[0.5, 1.0, 1.0, 0.0]]), torch.zeros(1))
    torch.testing.assert_close(halved, colour / 2, rtol=0, atol=1e-6)


def test_each_image_has_its_own_blur():
    """An impulse under sigma 1 and under none: the first is the Gaussian's weights, the second stays an impulse."""
    x = torch.zeros(2, 3, 9, 9)
    x[:, :, 4, 4] = 1
    soft = blurred(x, torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(soft[1], x[1])
    weights = torch.exp(-(torch.arange(-2, 3.0) ** 2) / 2)
    weights /= weights.sum()
    torch.testing.assert_close(soft[0, 0, 2:7, 2:7], torch.outer(weights, weights))

"""Checkpoints: whole or absent, the one before kept, foreign ones refused."""

import pytest
import torch

from hume_ssl.errors import InputError
from hume_ssl.train import checkpoint


def write(folder, step):
    checkpoint.save(folder, {"w": torch.full((3,), float(step))}, {"step": step, "identity": {"label file": "aa"}})


def test_round_trip_and_the_one_before_is_kept(tmp_path):
    for step in (1, 2, 3):
        write(tmp_path / "c", step)
    tensors, facts = checkpoint.load(tmp_path / "c")
    assert facts["step"] == 3 and tensors["w"].tolist() == [3.0, 3.0, 3.0]
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["last.safetensors", "previous.safetensors"]


@pytest.mark.parametrize("damage", ["cut short", "missing", "empty"])
def test_a_broken_last_one_gives_way_to_the_one_before(tmp_path, damage):
    write(tmp_path, 1)
    write(tmp_path, 2)
    last = tmp_path / checkpoint.LAST
    if damage == "missing":  # killed between the two moves
        last.unlink()
    else:
        last.write_bytes(last.read_bytes()[:40] if damage == "cut short" else b"")
    assert checkpoint.load(tmp_path)[1]["step"] == 1


def test_nothing_there(tmp_path):
    assert checkpoint.load(tmp_path / "absent") is None
    write(tmp_path, 1)
    checkpoint.clear(tmp_path)
    assert checkpoint.load(tmp_path) is None and not list(tmp_path.iterdir())


def test_same_content_same_bytes(tmp_path):
    write(tmp_path / "a", 1)
    write(tmp_path / "b", 1)
    assert (tmp_path / "a" / checkpoint.LAST).read_bytes() == (tmp_path / "b" / checkpoint.LAST).read_bytes()


def test_foreign_checkpoint_is_refused_with_both_hashes(tmp_path):
    with pytest.raises(InputError, match=r"label file aa.*label file bb") as caught:
        checkpoint.check_same({"label file": "aa", "settings": "s"}, {"label file": "bb", "settings": "s"}, tmp_path)
    assert "\n" not in str(caught.value)
    checkpoint.check_same({"label file": "aa"}, {"label file": "aa"}, tmp_path)

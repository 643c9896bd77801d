"""Two processes compute what one does: batch norm over both, gradients of a loss of the whole batch, and shares."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import distributed, nn
from torch.nn import functional as nnf

from hume_ssl.errors import InputError
from hume_ssl.train import train_fixmatch
from hume_ssl.train.feed import part
from hume_ssl.train.together import SyncedBatchNorm, Together, synced
from hume_ssl.train_config import TrainConfig

ROOT = Path(__file__).resolve().parents[2]

SHAPES = {"images": (8, 3, 5, 4), "rows": (8, 3), "signals": (8, 3, 7)}
COUNTS = (4, 6, 6)  # rows of the three kinds in the batch of both


def data(shape, seed=0):
    """float64; each channel has its own scale, and a mean far from 0, where sums of squares would cancel."""
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return x * torch.tensor([1.0, 2.0, 0.1]).view(1, 3, *[1] * (len(shape) - 2)) + 50


def norm(kind, momentum=0.3):
    """nn.BatchNorm in float64 with weights and biases of its own, and running statistics that are not fresh."""
    module = (nn.BatchNorm2d if kind == "images" else nn.BatchNorm1d)(3, eps=1e-3, momentum=momentum).double()
    for tensor, values in zip(
        module.state_dict().values(), ([1, 2, -3], [4, 5, 6], [7, 8, 9], [2, 3, 4]), strict=False
    ):
        tensor.copy_(torch.tensor(values))
    return module


def pass_through(module, kind, mine=slice(None)):
    """Two training passes over rows of the data: output, gradients, and the state after them."""
    for _ in range(2):
        module.zero_grad()
        x = data(SHAPES[kind])[mine].requires_grad_()
        y = module(x)
        y.backward(data(SHAPES[kind], 1)[mine] - 50)
    gradients = {"x": x.grad, "weight": module.weight.grad, "bias": module.bias.grad}
    return {"y": y.detach()} | gradients | {f"state/{name}": t for name, t in module.state_dict().items()}


def network():
    """A convolution, batch norm and a linear layer, with weights from a seed, in float64."""
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.LeakyReLU(0.1, inplace=True), nn.Flatten(), nn.Linear(24, 3))
    return nn.Sequential(*layers).double()


def batch_loss(labelled, weak, strong):
    """A loss in which all rows of the batch meet: targets by the mean of the batch, and a fairness term in it."""
    p = weak.detach().softmax(1)
    targets = (p / p.mean(0)).argmax(1)
    fair = (strong.softmax(1).mean(0).log() * p.mean(0)).sum()
    ground = torch.arange(len(labelled)) % 3
    return nnf.cross_entropy(labelled, ground) + 2 * nnf.cross_entropy(strong, targets) - 0.5 * fair


def train_three_steps(together):
    """Three SGD steps on batches of COUNTS images: the losses, the last gradients, and the state after them."""
    model = network()
    called = together.wrap(model)
    assert isinstance(model[1], SyncedBatchNorm) == (together.world > 1)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for step in range(3):
        kinds = [data((count, 3, 5, 4), seed=10 * step + i) for i, count in enumerate(COUNTS)]
        local = torch.cat([kind[part(len(kind), together.rank, together.world)] for kind in kinds])
        loss = batch_loss(*together.everywhere(called(local), COUNTS))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.detach())
    results = {f"gradient/{name}": p.grad for name, p in model.named_parameters()}
    return results | {f"state/{name}": t for name, t in model.state_dict().items()} | {"loss": torch.stack(losses)}


def in_bfloat16(module, mine):
    """Output and gradient of some rows under autocast, as float32."""
    x = data(SHAPES["images"])[mine].bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = module(x)
    assert y.dtype == torch.bfloat16
    y.backward((data(SHAPES["images"], 1)[mine] - 50).bfloat16())
    return {"bf16/y": y.detach().float(), "bf16/x": x.grad.float()}


def whole_training(together):
    """The loop itself, in float64: history and weights of 12 steps of an algorithm that remembers what it saw."""
    before = torch.get_default_dtype(), torch.Tensor.float
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double
    try:
        config = TrainConfig(algorithm="freematch", steps=12, batch=4, mu=3, eval_every=4, seed=1, precision="float32")
        images = np.random.default_rng(0).integers(0, 256, (31, 8, 8), dtype=np.uint8)
        labels = np.arange(6) % 3
        result = train_fixmatch(images, np.arange(6), labels, classes=3, config=config, device="cpu", together=together)
    finally:
        torch.set_default_dtype(before[0])
        torch.Tensor.float = before[1]
    rows = [[np.nan if value is None else value for value in row.values()] for row in result.history]
    tensors = {"history": torch.tensor(rows, dtype=torch.float64), "p": torch.from_numpy(result.confidence)}
    return tensors | {f"weights/{name}": t for name, t in result.state_dict.items()}


def in_one_of_two(rank):
    """Everything that is compared with one process, as seen by this one."""
    results = {}
    for kind in SHAPES:
        mine = slice(0, 3) if rank == 0 else slice(3, 8)  # unequal shares: the means are weighted
        values = pass_through(synced(norm(kind)), kind, mine)
        results |= {f"{kind}/{name}": t for name, t in values.items()}
    results |= in_bfloat16(synced(norm("images").float()), slice(4 * rank, 4 * rank + 4))
    results |= {f"training/{name}": t for name, t in train_three_steps(Together(rank, 2)).items()}
    results |= {f"loop/{name}": t for name, t in whole_training(Together(rank, 2)).items()}
    items = np.arange(5)  # an odd number: one process has one more
    for count in (5, 1):
        mine = torch.from_numpy(Together(rank, 2).split(items[:count])).double() ** 2
        results[f"squares/{count}"] = Together(rank, 2).collect(mine, count)
    return results


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What each of two processes got: a list of two dicts of arrays."""
    folder = tmp_path_factory.mktemp("two")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    processes = [
        subprocess.Popen([sys.executable, __file__, str(folder), str(rank)], env=environment, stderr=subprocess.PIPE)
        for rank in range(2)
    ]
    try:
        for process in processes:
            _, err = process.communicate(timeout=120)
            assert process.returncode == 0, err.decode()
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return [dict(np.load(folder / f"{rank}.npz")) for rank in range(2)]


@pytest.mark.parametrize("kind", SHAPES)
def test_batch_norm_over_two_processes_is_that_of_one(two, kind):
    """Rows 0 to 2 in one process, 3 to 7 in the other: outputs and gradients are the rows of one process's, the running
    statistics are the same in both; the gradients of weight and bias add up."""
    whole = pass_through(norm(kind), kind)
    for name in ("y", "x"):
        both = np.concatenate([got[f"{kind}/{name}"] for got in two])
        np.testing.assert_allclose(both, whole[name], rtol=1e-9, atol=1e-10)
    for name in ("weight", "bias"):
        total = sum(got[f"{kind}/{name}"] for got in two)
        np.testing.assert_allclose(total, whole[name], rtol=1e-9, atol=1e-10)
    states = [name for name in whole if name.startswith("state/")]
    assert {f"{kind}/{name}" for name in states} == {name for name in two[0] if name.startswith(f"{kind}/state/")}
    for name in states:
        assert np.array_equal(two[0][f"{kind}/{name}"], two[1][f"{kind}/{name}"])
        np.testing.assert_allclose(two[0][f"{kind}/{name}"], whole[name], rtol=1e-12)


def test_batch_norm_in_bfloat16(two):
    whole = in_bfloat16(norm("images").float(), slice(None))
    for name, values in whole.items():
        both = np.concatenate([got[name] for got in two])
        np.testing.assert_allclose(both, values, rtol=2**-7, atol=2**-7 * values.abs().max())  # 8 bits of mantissa


def test_three_steps_by_two_processes_are_those_of_one(two):
    whole = train_three_steps(Together())
    assert {f"training/{name}" for name in whole} == {name for name in two[0] if name.startswith("training/")}
    for name, expected in whole.items():
        mine, other = (got[f"training/{name}"] for got in two)
        assert np.array_equal(mine, other), name  # nothing has to be sent around to keep them equal
        np.testing.assert_allclose(mine, expected.detach(), rtol=1e-10, atol=1e-10, err_msg=name)


def test_the_loop_in_two_processes_is_that_of_one(two):
    """In float64, where rounding has no room to grow: the default learning rate moves float32 runs apart within tens of
    steps, as it does two float32 runs of one process that begin 1e-7 apart."""
    whole = whole_training(Together())
    assert whole["history"].shape[0] == 3 and whole["history"].isfinite()[:, :5].all()
    for name, expected in whole.items():
        for got in two:
            np.testing.assert_allclose(got[f"loop/{name}"], expected, rtol=1e-8, atol=1e-9, err_msg=name)


def test_gradients_of_batch_norm_are_the_derivatives():
    """In a group of one process, against finite differences."""
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        for affine in (True, False):
            module = SyncedBatchNorm(3, affine=affine).double()
            x = data((4, 3, 2, 1)).requires_grad_()
            assert torch.autograd.gradcheck(module, x)
            if affine:
                assert torch.autograd.gradcheck(
                    lambda w, b: torch.func.functional_call(module, {"weight": w, "bias": b}, (x.detach(),)),  # noqa: B023
                    (module.weight, module.bias),
                )
    finally:
        distributed.destroy_process_group()


def test_cumulative_statistics_and_evaluation_need_no_more_than_one_process_has():
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        plain, ours = norm("images", momentum=None), synced(norm("images", momentum=None))
        for seed in range(3):
            torch.testing.assert_close(ours(data((4, 3, 5, 5), seed)), plain(data((4, 3, 5, 5), seed)))
        torch.testing.assert_close(ours.state_dict(), plain.state_dict())
    finally:
        distributed.destroy_process_group()
    x = data((4, 3, 5, 5), 7)  # no group now: evaluation exchanges nothing
    plain.load_state_dict(ours.state_dict())
    assert torch.equal(ours.eval()(x), plain.eval()(x))


def test_synced_keeps_tensors_names_and_mode():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.BatchNorm2d(4, eps=1e-2), nn.ReLU())).eval()
    tensors = dict(model.state_dict(keep_vars=True))
    twin = synced(model)
    assert isinstance(twin[1][0], SyncedBatchNorm) and not twin[1][0].training and twin[1][0].eps == 1e-2
    after = twin.state_dict(keep_vars=True)
    assert list(after) == list(tensors) and all(after[name] is tensors[name] for name in tensors)


def test_what_was_split_is_collected_in_order(two):
    for got in two:
        np.testing.assert_array_equal(got["squares/5"], [0, 1, 4, 9, 16])
        np.testing.assert_array_equal(got["squares/1"], [0])
    assert [len(Together(rank, 2).split(np.arange(5))) for rank in range(2)] == [3, 3]


def test_alone_nothing_is_changed():
    alone, model = Together(), network()
    assert alone.wrap(model) is model and alone.first and not isinstance(model[1], SyncedBatchNorm)
    logits = torch.randn(16, 3)
    parts = alone.everywhere(logits, COUNTS)
    assert [len(part) for part in parts] == list(COUNTS) and torch.equal(torch.cat(parts), logits)


@pytest.mark.parametrize(("batch", "world", "fitting"), [(7, 2, 8), (1, 4, 4), (33, 8, 32)])
def test_a_batch_that_cannot_be_shared_is_named_with_one_that_can(batch, world, fitting):
    with pytest.raises(InputError, match=rf"train\.batch {batch} .* {world} processes: .*train\.batch={fitting},"):
        Together(0, world).check(batch)
    Together(0, world).check(fitting)


if __name__ == "__main__":
    folder, rank = Path(sys.argv[1]), int(sys.argv[2])
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    np.savez(folder / f"{rank}.npz", **{name: t.numpy() for name, t in in_one_of_two(rank).items()})
    distributed.barrier()
    distributed.destroy_process_group()

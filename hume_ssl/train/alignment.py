"""Distribution alignment: pseudo-labels that together have the class sizes one knows of.

A group of items that looks like another class (nines with a small loop) gives itself the same wrong pseudo-label at
every step, and nothing within FixMatch contradicts it. Known class sizes do: one class then gets too many pseudo-labels
and another too few, and the items nearest to the boundary between them should move over.

ReMixMatch (arXiv:1911.09785, section 3.1) multiplies the probabilities by target / mean once. Here they are multiplied
by exp(bias), and the bias goes on moving until the mean of the result is the target: stochastic ascent of the dual of
the transport problem that gives every item a class under those sizes (as in Sinkhorn label allocation,
arXiv:2102.08622). Wrong sizes do harm: aligned to equal sizes, USPS, whose classes are not, loses several points.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from hume_ssl.train.algorithms import State, blend, widened

RATE = 0.2  # of the bias, a step
MEMORY = 0.9  # decay of the mean of the aligned probabilities, about ten steps
LEAST = 1e-8  # a mean below it counts as this much, so that its logarithm is a number


def first_alignment(shares: Sequence[float]) -> State:
    """What is remembered before the first step: bias (k,) 0, the mean of aligned probabilities (k,) at its target."""
    target = torch.tensor(shares, dtype=torch.float32)
    target = target / target.sum()
    return {"bias": torch.zeros_like(target), "mean": target.clone(), "target": target}


def align(logits: Tensor, state: State) -> tuple[Tensor, State]:
    """Logits of the weak views with the bias added, and the state for the next step.

    Args:
        logits: (u, k); no gradient flows through what comes out.
        state: from :func:`first_alignment` or from the step before; not changed. Empty: nothing is aligned.

    Returns:
        (u, k) float32. The bias of a class rises by RATE times the logarithm of its target over its mean.
    """
    logits = widened(logits.detach())
    if not state or len(logits) == 0:
        return logits, state
    aligned = logits + state["bias"]
    mean = blend(state["mean"], aligned.softmax(1).mean(0), MEMORY)
    bias = state["bias"] + RATE * (state["target"].log() - mean.clamp_min(LEAST).log())
    return aligned, {"bias": bias, "mean": mean, "target": state["target"]}

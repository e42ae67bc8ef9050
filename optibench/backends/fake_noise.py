"""How bursts vary where processes take turns on one machine: the fake backend's noise, and the trust suites'.

    log time of a call = process (once a round) + pace of the machine (shared by a block) + burst + call

The pace drifts, and has two levels where the host lends the same cores to others now and then.

A burst may also lose the cores for part of its time, to something small or to a neighbour that burns one in steps; its
share of the CPU falls, and it takes longer. The host's own theft (``tail``) leaves no trace in the share. Everything is
drawn in arrays whose last axis is the block, from a generator of the machine's or of the process's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from optibench.values import Value

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray

BODY = 4
"""Degrees of freedom of a burst's own deviation (Student's t): recorded bursts have heavier sides than a normal's."""


class Noise(Value, frozen=True, kw_only=True):
    """The model's parameters; spreads are of log times. As they stand: a quiet machine. Fitted ones come from a
    recording (tests/trust/fit.py)."""

    round_noise: float = 0.005
    """Spread between processes of one build (addresses, page colours), drawn once a round."""
    drift: float = 0.0
    """Spread of the machine's pace from block to block ..."""
    drift_memory: float = 0.0
    """... and how much of it a block inherits from the one before (0 to 1)."""
    slow: float = 0.0
    """Share of the time in which the host slows the whole machine, and takes no CPU time for it ..."""
    slow_by: float = 0.0
    """... by so much (a log) ..."""
    slow_blocks: float = 10.0
    """... for so many blocks on end, on average."""
    burst_noise: float = 0.0
    """Scale of a burst's own deviation."""
    tail: float = 0.0
    """Share of bursts that the host slows, unseen by any counter of the process ..."""
    tail_mean: float = 0.0
    """... by so much on average (exponential)."""
    call_noise: float = 0.02
    """Spread of the calls in a burst."""
    stolen: float = 0.0
    """Share of bursts that lose some of the CPU to something small ..."""
    stolen_mean: float = 0.0
    """... so large a share of it on average (exponential)."""
    neighbour: float = 0.0
    """Share of the time in which a neighbour burns a core, in one step a period ..."""
    neighbour_blocks: float = 4.0
    """... of so many blocks ..."""
    neighbour_takes: float = 0.4
    """... and the share of the CPU that a burst loses meanwhile: from none to twice as much, this on average."""
    cost: float = 3.0
    """A burst left with the share s of the CPU takes exp(cost * log(s)**2) times as long: a small loss hardly shows,
    but threads that wait for one without a core wait long."""
    share_noise: float = 0.0
    """Spread of an undisturbed burst's share of the CPU (the clock of CPU time is coarse)."""
    switches: float = 0.0
    """Switches against its will that a burst usually sees."""


def machine(noise: Noise, rng: numpy.random.Generator, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """What all processes of a round share: the machine's log pace in each block (``shape``, last axis the blocks),
    and in which part of its period the neighbour is when the round begins (last axis of length 1)."""
    import numpy as np

    pace = rng.normal(0, 1, shape)
    fresh = np.sqrt(1 - noise.drift_memory**2)
    for block in range(1, shape[-1]):
        pace[..., block] = noise.drift_memory * pace[..., block - 1] + fresh * pace[..., block]
    return noise.drift * pace + noise.slow_by * _slow(noise, rng, shape), rng.random((*shape[:-1], 1))


def _slow(noise: Noise, rng: numpy.random.Generator, shape: tuple[int, ...]) -> Array:
    """Which blocks the host slows: it comes and goes by chance (a Markov chain of two states)."""
    import numpy as np

    if not noise.slow:
        return np.zeros(shape)
    chance = rng.random(shape)
    leaves = 1 / noise.slow_blocks
    comes = min(leaves * noise.slow / (1 - noise.slow), 1.0)
    slow = chance < noise.slow
    for block in range(1, shape[-1]):
        slow[..., block] = np.where(slow[..., block - 1], chance[..., block] >= leaves, chance[..., block] < comes)
    return slow


def process(noise: Noise, rng: numpy.random.Generator, shape: tuple[int, ...]) -> Array:
    """A process's own log factor in a round."""
    return rng.normal(0, noise.round_noise, shape)


def bursts(noise: Noise, rng: numpy.random.Generator, pace: Array, phase: Array) -> tuple[Array, Array, Array]:
    """A process's bursts on that machine, one a block: log slowness without its process's factor, the share of the
    CPU that it got (1: all it can use), and switches against its will."""
    import numpy as np

    shape, blocks = pace.shape, pace.shape[-1]
    slow = pace + noise.burst_noise * rng.standard_t(BODY, shape)
    slow = slow + np.where(rng.random(shape) < noise.tail, rng.exponential(noise.tail_mean or 1.0, shape), 0.0)
    lost = np.where(rng.random(shape) < noise.stolen, rng.exponential(noise.stolen_mean or 1.0, shape), 0.0)
    # Where in its block a process's turn comes is chance; the neighbour goes by the clock.
    when = (phase + (np.arange(blocks) + rng.random(shape)) / noise.neighbour_blocks) % 1.0
    taken = rng.uniform(0, 2 * noise.neighbour_takes, shape)
    lost = np.minimum(lost + np.where(when < noise.neighbour, taken, 0.0), 0.9)
    share = (1 - lost) * (1 + noise.share_noise * rng.normal(0, 1, shape))
    switched = rng.geometric(1 / (1 + noise.switches), shape) - 1
    return slow + noise.cost * np.log1p(-lost) ** 2, share, switched


def calls(noise: Noise, rng: numpy.random.Generator, shape: tuple[int, ...]) -> Array:
    """The calls' own log deviations within their bursts."""
    return rng.normal(0, noise.call_noise, shape)

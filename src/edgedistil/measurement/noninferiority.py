"""Whether a compressed model is no worse than its parent by more than so many points, over seeds and sentences.

Seeds answer the same sentences, so their answers to one sentence are no independent ones: the sentence is the unit.
Each sentence's difference is averaged over the seeds, and the interval is of the sentences; the seeds are a few fixed
repetitions of the recipe, and each one's own drop stands beside the mean. One sentence that all seeds gain and one that
they all lose are added to the data first, which keeps the interval honest where the answers hardly differ (a drop of 0
on 0 differing sentences is no proof of 0). With one seed this is the adjusted Wald interval of Bonett & Price 2012
("Adjusted Wald confidence interval for a difference of binomial proportions based on paired data", Journal of
Educational and Behavioral Statistics 37(4)); averaging within clusters first is Donner & Klar's analysis at the level
of clusters ("Design and Analysis of Cluster Randomization Trials in Health Research", chapter 6).

Texts that are phrases of one sentence (SST-2's training split) are alike in the same way. The sentence is then what was
drawn: the mean stays that of the texts, and its variance is the ratio estimator's between sentences (Cochran 1977,
"Sampling Techniques", section 9A.1; for paired shares Obuchowski 1998, "On the comparison of correlated proportions
for clustered data", Statistics in Medicine 17).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

_NORMAL = NormalDist()


@dataclass(frozen=True)
class Drop:
    """A drop in points of a share (100 × parent's minus candidate's); below 0 the candidate is the better one.

    Attributes:
        points: the mean over seeds and sentences, as counted.
        seeds: the same of each seed alone.
        centre, error: of the adjusted data, in points: what interval and test are made of.
        n: texts.
        clusters: independent ones among them, the sentences that they are phrases of; ``n`` where each is its own.
    """

    points: float
    seeds: tuple[float, ...]
    centre: float
    error: float
    n: int
    clusters: int

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Two-sided interval in points."""
        half = _NORMAL.inv_cdf(0.5 + confidence / 2) * self.error
        return self.centre - half, self.centre + half

    def bound(self, confidence: float = 0.95) -> float:
        """The least X for which "the drop is at most X points" is shown at this confidence (one-sided)."""
        return self.centre + _NORMAL.inv_cdf(confidence) * self.error

    def p_at_most(self, points: float) -> float:
        """p-value against "the drop is ``points`` or more": small shows that it is less (non-inferiority)."""
        return _NORMAL.cdf((self.centre - points) / self.error)

    def p_above(self, points: float) -> float:
        """p-value against "the drop is ``points`` or less": small shows that it is more."""
        return 1 - self.p_at_most(points)

    def p_of_no_drop(self) -> float:
        """Two-sided p-value of "there is no difference"."""
        return 2 * min(self.p_at_most(0), self.p_above(0))


def drop(differences: Sequence[Sequence[float]], clusters: Sequence[int] | None = None) -> Drop:
    """The drop of a candidate against its parent.

    Args:
        differences: by seed, then by sentence: parent's score minus candidate's (of right answers -1, 0 or 1). The
            seeds' sentences are the same ones in the same order.
        clusters: which sentence each text is a phrase of; None: each text is its own.

    Raises:
        ValueError: no seed, no sentence, or seeds that answered different numbers of sentences.
    """
    lengths = {len(seed) for seed in differences}
    if len(lengths) != 1 or not lengths - {0}:
        raise ValueError(f"the seeds answered {sorted(lengths)} sentences: there must be some, and the same ones")
    n, count = len(differences[0]), len(differences)
    means = [math.fsum(seed[i] for seed in differences) / count for i in range(n)]
    total = math.fsum(means)
    # One sentence of +1 and one of -1 more, each of one text: they leave the sum alone.
    centre = total / (n + 2)
    off: dict[int, float] = {}
    for text, mean in enumerate(means):
        cluster = text if clusters is None else clusters[text]
        off[cluster] = off.get(cluster, 0.0) + mean - centre
    squares = math.fsum(o * o for o in (*off.values(), 1 - centre, -1 - centre))
    return Drop(
        100 * total / n,
        tuple(100 * math.fsum(seed) / n for seed in differences),
        100 * centre,
        100 * math.sqrt(squares) / (n + 2),
        n,
        len(off),
    )


def drop_of_counts(lost: int, gained: int, n: int) -> Drop:
    """:func:`drop` of one seed from its discordant counts: sentences that only the parent, or only the candidate, has
    right."""
    return drop([[1.0] * lost + [-1.0] * gained + [0.0] * (n - lost - gained)])

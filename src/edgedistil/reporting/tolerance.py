"""How much worse a second run may be before a gate closes: ``FIGURE=VALUE`` or ``FIGURE=VALUE%``."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import UserError
from .compare import NO_INTERVAL, NOISE, OPEN, QUALITIES, RELATIVE, WORSE, Difference

_ANY_QUALITY = "quality"
_GRAMMAR = (
    "FIGURE=VALUE in the figure's own unit (points, nats, ms, MB) or FIGURE=VALUE% of the first run's; FIGURE is one "
    f"of {', '.join((_ANY_QUALITY, *QUALITIES, *RELATIVE))}. Examples: accuracy_points=0.5 latency=5% size=1% memory=10"
)


@dataclass(frozen=True)
class Tolerance:
    """``figure`` may be worse by ``value``: a share of the first run's, or in its own unit."""

    figure: str
    value: float
    share: bool
    text: str

    def about(self, found: Difference) -> bool:
        """Whether a difference is of the figure that this is for."""
        return found.figure == self.figure or (self.figure == _ANY_QUALITY and found.figure in QUALITIES)

    def judged(self, found: Sequence[Difference]) -> bool:
        """Whether any of a cell's differences is of this figure and could be judged."""
        return any(self.about(d) and d.verdict != OPEN for d in found)

    def closes(self, found: Difference, strict: bool = False) -> bool:
        """Whether a difference goes past it: worse by more than so much, by the estimate, and not within noise.

        Args:
            strict: noise is no excuse.
        """
        if not self.about(found):
            return False
        if found.verdict not in (WORSE, NO_INTERVAL, *((NOISE,) if strict else ())):
            return False
        worse = found.change.value
        if found.relative and not self.share:
            worse = found.second - found.first
        return worse > self.value


def parse(words: Sequence[str]) -> list[Tolerance]:
    """Tolerances as they are given on a command line.

    Raises:
        UserError: one that does not follow the grammar.
    """
    return [_parse(word) for word in words]


def _parse(word: str) -> Tolerance:
    figure, _, text = word.partition("=")
    share = text.endswith("%")
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        value = math.nan
    wrong = None
    if figure not in (_ANY_QUALITY, *QUALITIES, *RELATIVE):
        wrong = "no such figure"
    elif not (math.isfinite(value) and value >= 0):
        wrong = "its value is no number from 0 on"
    elif share and figure not in RELATIVE:
        wrong = "points and nats are no shares"
    elif figure == "speed" and not share:
        wrong = "ratios are compared in percent"
    if wrong:
        raise UserError(f"--tolerance {word}: {wrong}. Allowed: {_GRAMMAR}")
    return Tolerance(figure, value / 100 if share else value, share, word)

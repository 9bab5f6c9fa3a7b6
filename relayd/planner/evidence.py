"""What published benchmarks say of a model, on the scale of its quality.

Each test is read as a line: `at` points of quality for its mean figure, and `slope` points for each point
more. The lines were fitted to what size and date alone give the models of the catalogue that have a figure,
with slopes from 0.2 to 0.6, so a test moves models against one another and not all of them up or down. What
the tests for a use say is averaged, parts of one test first, and mixed with what size and date say: one test
decides half of it, two decide two thirds, and so on.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

BELOW = 1.5
"""Times the slope below the mean: the easy questions of a test are left, which small models answer too."""


@dataclass(frozen=True, slots=True)
class Test:
    """One benchmark.

    Attributes:
        title: What people call it.
        uses: What it measures, names of uses with a space between.
        mean: A figure in the middle of those of the catalogue.
        at: Points of quality that this figure means.
        slope: Points of quality for each point of the figure.
    """

    title: str
    uses: str
    mean: float
    at: float
    slope: float

    def points(self, figure: float) -> float:
        """Return the quality that a figure means, from 0 to 100."""
        slope = self.slope * (BELOW if figure < self.mean else 1.0)
        return min(100.0, max(0.0, self.at + slope * (figure - self.mean)))


TESTS: Mapping[str, Test] = {
    "aider-polyglot": Test("Aider polyglot", "code agent", 41.5, 88.8, 0.2),
    "artificial-analysis-4": Test("Artificial Analysis", "chat agent code reasoning long", 23.7, 77.6, 0.58),
    "gpqa-diamond": Test("GPQA Diamond", "reasoning", 68.6, 82.1, 0.2),
    "livebench-2024-11-coding": Test("LiveBench", "code", 30.0, 74.2, 0.51),
    "livebench-2024-11-instructions": Test("LiveBench", "chat agent", 53.2, 74.2, 0.6),
    "livebench-2024-11-language": Test("LiveBench", "chat long", 22.2, 74.2, 0.6),
    "livebench-2024-11-mathematics": Test("LiveBench", "reasoning", 28.0, 74.2, 0.56),
    "livebench-2024-11-reasoning": Test("LiveBench", "reasoning chat", 28.9, 74.2, 0.36),
    "livebench-2025-04-coding": Test("LiveBench", "code", 53.5, 85.1, 0.37),
    "livebench-2025-04-instructions": Test("LiveBench", "chat agent", 71.6, 85.1, 0.28),
    "livebench-2025-04-language": Test("LiveBench", "chat long", 40.8, 85.1, 0.32),
    "livebench-2025-04-mathematics": Test("LiveBench", "reasoning", 58.8, 85.1, 0.2),
    "livebench-2025-04-reasoning": Test("LiveBench", "reasoning chat", 50.6, 85.1, 0.2),
    "livebench-2025-05-agentic": Test("LiveBench", "agent code", 19.3, 91.8, 0.2),
    "livebench-2025-05-coding": Test("LiveBench", "code", 66.4, 91.8, 0.2),
    "livebench-2025-05-instructions": Test("LiveBench", "chat agent", 81.1, 91.8, 0.2),
    "livebench-2025-05-language": Test("LiveBench", "chat long", 57.4, 91.8, 0.2),
    "livebench-2025-05-mathematics": Test("LiveBench", "reasoning", 75.6, 91.8, 0.2),
    "livebench-2025-05-reasoning": Test("LiveBench", "reasoning chat", 70.5, 91.8, 0.2),
    "livebench-2026-01-agentic": Test("LiveBench", "agent code", 28.8, 89.5, 0.2),
    "livebench-2026-01-coding": Test("LiveBench", "code", 64.8, 89.7, 0.32),
    "livebench-2026-01-instructions": Test("LiveBench", "chat agent", 40.0, 89.7, 0.2),
    "livebench-2026-01-language": Test("LiveBench", "chat long", 61.2, 89.5, 0.21),
    "livebench-2026-01-mathematics": Test("LiveBench", "reasoning", 70.9, 89.7, 0.2),
    "livebench-2026-01-reasoning": Test("LiveBench", "reasoning chat", 56.4, 89.5, 0.2),
    "livecodebench-6": Test("LiveCodeBench", "code", 56.4, 82.8, 0.2),
    "mmlu-pro": Test("MMLU-Pro", "chat long", 75.9, 82.1, 0.25),
    "mmmu-pro": Test("MMMU-Pro", "vision", 68.7, 82.8, 0.2),
    "swe-bench-verified": Test("SWE-bench Verified", "code agent", 69.5, 86.5, 0.2),
    "tau2": Test("Tau2", "agent", 45.6, 82.8, 0.2),
}
"""Name in the catalogue -> how it is read."""

UNPROVEN = 4.0
"""Points less for a model of which no figure is known: good ones are published."""


def told(benchmarks: Iterable[tuple[str, float]], use: str) -> list[tuple[Test, float]]:
    """Return the tests that say something of a model for a use, with the quality that each means."""
    tests = ((TESTS[name], figure) for name, figure in benchmarks if name in TESTS)
    return [(test, test.points(figure)) for test, figure in tests if use in test.uses.split()]


def mixed(prior: float, benchmarks: Iterable[tuple[str, float]], use: str) -> float:
    """Return the quality of a model that is rated `prior` by its size and date.

    Args:
        prior: From 0 to 100.
        benchmarks: Test and figure of each benchmark that is known.
        use: What the model is wanted for.
    """
    by_title: dict[str, list[float]] = {}
    for test, points in told(benchmarks, use):
        by_title.setdefault(test.title, []).append(points)
    if not by_title:
        return max(0.0, prior - UNPROVEN)
    means = [sum(points) / len(points) for points in by_title.values()]
    return (prior + sum(means)) / (1 + len(means))

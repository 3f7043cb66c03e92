"""Early stopping, and a choice among several trainings, by the NLL of the validation rows."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from typing import Protocol

from experiments.tables.rows import spent

__all__ = ["Training", "best_of"]

SHARE = 0.3  # of the time, in which all candidates are tried
GROWTH, FIRST, PATIENCE = 1.4, 50, 4  # iterations between checks, and checks without gain


class Training(Protocol):
    """A training that can go on for some iterations, and tell its validation NLL."""

    words: str

    def advance(self, iterations: int, speed: float = 1.0) -> None:
        """Train for some iterations, at this fraction of the learning rate."""

    def check(self) -> float:
        """The NLL of validation rows under the averaged parameters."""

    def state(self) -> object:
        """The averaged parameters."""

    def restore(self, state: object) -> None:
        """Take these as the averaged parameters."""


class _Course:
    """One candidate: its training so far, and its best moment."""

    def __init__(self, training: Training) -> None:
        self.training, self.done, self.next = training, 0, FIRST
        self.best, self.state, self.idle = training.check(), copy.deepcopy(training.state()), 0

    @property
    def finished(self) -> bool:
        return self.idle >= PATIENCE

    def go_on(self, seconds: float, *, slowing: bool = False) -> None:
        """Train and check until the time is spent, or nothing is gained any more.

        With ``slowing`` the learning rate falls along the time, down to a fiftieth.
        """
        start = time.process_time()
        while not self.finished and (left := seconds - spent(start)) > 0:
            begun = time.process_time()
            while self.done < self.next and spent(begun) < left:
                speed = max(0.02, 1 - spent(start) / seconds) if slowing else 1.0
                self.training.advance(10, speed)
                self.done += 10
            value = self.training.check()
            if value < self.best - 1e-3:
                self.best, self.state, self.idle = value, copy.deepcopy(self.training.state()), 0
            elif self.done >= self.next:  # a round that the time cut short is no evidence
                self.idle += 1
            if self.done >= self.next:
                self.next += max(FIRST, int((GROWTH - 1) * self.done))


def best_of(trainings: Sequence[Training], seconds: float) -> tuple[Training, str]:
    """Try all candidates for a part of the time, and go on with the best for the rest of it.

    Arguments:
        trainings: the candidates, untrained.
        seconds: processor time for all of it.

    Returns:
        The training whose validation NLL was lowest, with the parameters of that moment, and what
        was chosen in words.
    """
    start, courses = time.process_time(), [_Course(one) for one in trainings]
    for course in courses:
        course.go_on(SHARE * seconds / len(courses) if len(courses) > 1 else 0.0)
    best = min(courses, key=lambda one: one.best)
    best.go_on(seconds - spent(start), slowing=True)
    best.training.restore(best.state)
    ended = "ended by the validation rows" if best.finished else "ended by the time"
    return best.training, f"{best.training.words}, {best.done} iterations, {ended}"

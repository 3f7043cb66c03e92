"""Sentences on a model that is conditional on labels, for its verdict.

They are made of the dictionary of `noneq.run.by_label.results_by_label`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["found_labels", "known_labels"]


def known_labels(labels: Mapping[str, Any]) -> str:
    """Say how far log Z of the labels is known, as a clause.

    Arguments:
        labels: what is known of each label.

    Returns:
        A clause that names the label whose log Z is known least.
    """
    worst = max(labels["each"], key=lambda one: one["within"] or 0.0)
    return (
        f"log Z of every label is known within {worst['within']:.2f} nat (label {worst['label']})"
    )


def found_labels(labels: Mapping[str, Any], origin: str, *, sure: bool) -> str:
    """Say how many labels Bayes' theorem finds, and what the likelihoods are of.

    Arguments:
        labels: what is known of each label.
        origin: name of the base.
        sure: whether log Z was bracketed without alarms.

    Returns:
        Two sentences.
    """
    doubt = "" if sure else " (by values of log Z that are in doubt)"
    return (
        f"By Bayes' theorem it finds the labels of {labels['found']:.1%} of the test images, "
        f"without noise{doubt}; its {origin} finds {labels['found_by_base']:.1%}. Likelihoods are "
        "those of images given their labels."
    )

"""The library's messages name settings in backticks; the command line names its options."""

import pytest

from noneq.cli.advice import flags


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("take a smaller `lr`", "take a smaller --lr"),
        ("more `held_out` walkers", "more --held-out walkers"),
        ("`bracket.walkers` 64", "--bracket.walkers 64"),
        ("`equilibrate` 9", "`equilibrate` 9"),  # the bracket's, but without its name
        ("`other` stays", "`other` stays"),
        ("`resume(runs/a)`", "noneq train --out runs/a --resume"),
        ("`resume(r from=good)`", "noneq train --out r --resume --from good"),
    ],
)
def test_names_of_options_become_options(text, told):
    assert flags(text) == told

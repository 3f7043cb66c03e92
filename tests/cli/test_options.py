"""The values of options: times, lists, what is off, and the help, which says so."""

import pytest

from noneq.cli.main import main
from noneq.cli.options import BracketChoices, Choices, given
from noneq.cli.values import integers, seconds


def test_what_is_off_is_none_and_what_is_not_given_is_left_out():
    assert given(Choices(tau="off", walkers=64)) == {"tau": None, "walkers": 64}
    assert given(BracketChoices()) == {}


@pytest.mark.parametrize("text", ["0", "0.0m", "-3s", "3d", ""])
def test_what_is_no_time(text):
    with pytest.raises(ValueError, match="a time like 120s, 20m or 2h is meant"):
        seconds(text)


def test_integers_have_commas_or_spaces_between_them():
    assert integers("2,3,6") == integers("2 3 6") == integers("2, 3, 6") == (2, 3, 6)
    assert integers("") is None


def test_the_help_speaks_of_off(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    told = capsys.readouterr().out
    assert "off: " in " ".join(told.split())
    assert "None:" not in told

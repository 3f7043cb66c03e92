"""The code of the documentation runs as it stands, and what it says of the kernels is true."""

import re
from pathlib import Path

import noneq
from noneq.kernels import Stepped

TEXT = (Path(__file__).parent.parent / "docs" / "kernels.md").read_text(encoding="utf-8")


def test_the_new_kernel_passes_its_test_and_the_wrong_one_is_told(capsys):
    namespace = {}
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.S):
        exec(compile(block, "kernels.md", "exec"), namespace)
    printed = capsys.readouterr().out
    assert printed.startswith(
        "Stale on R^n: it returns energies or a cache that are not the model's"
    )
    kernel = namespace["Barker"](0.3)
    assert len(re.search(r"@dataclass.*?rng\)\n", TEXT, re.S)[0].splitlines()) <= 20
    assert kernel.scaled(2.0).h == 0.6


def test_every_kernel_is_in_the_table():
    kinds = [
        k for k in vars(noneq.kernels).values() if isinstance(k, type) and issubclass(k, Stepped)
    ]
    for kind in {*kinds, noneq.kernels.Repeat, noneq.kernels.Chain} - {Stepped}:
        assert f"`{kind.__name__}(" in TEXT, kind

"""A run that another program has begun with its own kernel is not resumed by ``noneq train``."""

import numpy as np
from command_line import QUICK, refused

from noneq.cli.main import main
from noneq.run.checkpoint import load_json, save_json


def test_a_run_of_another_program_is_not_resumed(tmp_path, capsys):
    data, folder = tmp_path / "rows.npy", tmp_path / "run"
    np.save(data, np.random.default_rng(0).normal(size=(120, 2)))
    how = ["--base", "full", "--iterations", "2", *QUICK]
    assert main(["train", str(data), "--out", str(folder), *how]) == 0
    config = load_json(folder / "config.json")
    config["data"]["preset"] = "paper"
    save_json(folder / "config.json", config)
    told = refused(["train", "--out", folder, "--resume", "--iterations", "4"], capsys)
    assert "was begun by another program" in told
    assert "preset paper" in told

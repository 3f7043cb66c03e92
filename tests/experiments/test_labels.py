"""The digits given their labels, in a reduced form."""

import torch

from experiments import labels


def test_a_short_training_has_likelihoods_and_tells_labels(monkeypatch):
    monkeypatch.setattr(labels, "LOOK", 5)
    rows = labels.Rows.digits()
    assert [len(x) for x in rows.x] == [1257, 180, 360] == [len(c) for c in rows.labels]
    noisy = rows.noisy(1, draws=2)
    assert torch.equal(noisy[:180, 64:].argmax(1), rows.labels[1])
    assert torch.equal(noisy[:180, 64:], noisy[180:, 64:])
    assert not torch.equal(noisy[:180, :64], noisy[180:, :64])
    energy = labels.trained(rows, 0, 10)
    assert min(labels.accuracies(energy, rows)) > 0.9
    found = labels.likelihoods(energy, rows, 0, 20)
    assert 10 < found["nll"] < 20
    assert found["alarms"] <= 10
    assert min(labels.classifier(rows, 0, 20)) > 0.8
    one = labels.Result("noneq", 0, 0.95, 0.9, **found)
    assert len(labels.row(one)) == len(labels.COLUMNS)

"""CIFAR's binary files: what is read is what was written, and what is damaged is refused."""

import numpy as np
import pytest
import torch

from noneq.data import load, read

RNG = np.random.default_rng(0)


def images(n):
    return RNG.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8)


def write(path, x, *labels):
    """Records of one byte for each kind of label, and the pixels, channel by channel."""
    records = [bytes(own) + row.tobytes() for row, *own in zip(x, *labels, strict=True)]
    path.write_bytes(b"".join(records))


@pytest.fixture
def folder(tmp_path):
    """CIFAR-10: two batches of 20 and of 12 training images, 5 test images."""
    for name, n in (("data_batch_1", 20), ("data_batch_2", 12), ("test_batch", 5)):
        write(tmp_path / f"{name}.bin", images(n), np.arange(n) % 10)
    (tmp_path / "batches.meta.txt").write_text("airplane\n")
    return tmp_path


def test_a_file_holds_labels_and_three_channels(tmp_path):
    x = images(3)
    write(tmp_path / "data_batch_4.bin", x, [3, 9, 0])
    rows = read(tmp_path / "data_batch_4.bin")
    assert torch.equal(rows.x, torch.from_numpy(x).float())
    assert rows.labels.tolist() == [3, 9, 0]


def test_cifar_100_has_coarse_and_fine_classes_and_the_fine_ones_are_read(tmp_path):
    x = images(2)
    write(tmp_path / "train.bin", x, [19, 4], [99, 20])
    write(tmp_path / "test.bin", x[:1], [1], [7])
    for source in (tmp_path, tmp_path / "train.bin"):
        rows = read(source)
        assert torch.equal(rows.x, torch.from_numpy(x).float())
        assert rows.labels.tolist() == [99, 20]
    assert read(tmp_path / "test.bin").labels.tolist() == [7]


def test_a_folder_holds_all_batches_and_its_own_test_images(folder):
    whole = read(folder)
    parts = [read(folder / f"data_batch_{i}.bin") for i in (1, 2)]
    assert torch.equal(whole.x, torch.cat([part.x for part in parts]))
    assert torch.equal(whole.labels, torch.cat([part.labels for part in parts]))
    data = load(folder)
    assert data.sizes == (28, 4, 5)
    assert (data.shape, data.kind) == ((3, 32, 32), "image")
    test = read(folder / "test_batch.bin").x
    assert torch.equal(((data.test + 1) * 127.5).round(), test)
    trained = ((torch.cat([data.train, data.validation]) + 1) * 127.5).round()
    assert sorted(trained.flatten(1).sum(1).tolist()) == sorted(whole.x.flatten(1).sum(1).tolist())
    of_two = load(folder, classes=[3, 4])
    assert of_two.sizes == (5, 1, 2)
    (folder / "test_batch.bin").unlink()
    assert load(folder).sizes == (23, 3, 6)  # no test file: split like any other


def test_ten_batches_are_in_the_order_of_their_numbers(tmp_path):
    for i in range(1, 12):
        write(tmp_path / f"data_batch_{i}.bin", images(1), [i % 10])
    assert read(tmp_path).labels.tolist() == [i % 10 for i in range(1, 12)]


def records(n, label=0, size=3073):
    found = np.zeros((n, size), np.uint8)
    found[-1, 0] = label
    return found.tobytes()


WRONG = {
    "data_batch_1.bin": (records(2)[:-1], "cut short, or not CIFAR-10: records have 3,073 bytes"),
    "test_batch.bin": (records(2) + b"\0", "the file has 6,147"),
    "empty.bin": (b"", "cut short, or not CIFAR-10: .*, and the file has 0"),
    "labels.bin": (records(3, 10), "not CIFAR-10: image 3 has the class 10, and .* below 10"),
    "train.bin": (records(1), "cut short, or not CIFAR-100: records have 3,074 bytes"),
    "test.bin": (records(2, 20, 3074), "not CIFAR-100: image 2 has the class 20, .* below 20"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_damaged_file_is_told_in_one_line(tmp_path, name):
    content, message = WRONG[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")
    assert "\n" not in str(caught.value)


def test_a_damaged_batch_is_named_and_a_missing_one_is_missed(folder):
    (folder / "data_batch_2.bin").write_bytes(records(2)[:-7])
    with pytest.raises(ValueError, match=r": data_batch_2\.bin: cut short") as caught:
        load(folder)
    assert str(caught.value).count(str(folder)) == 1
    assert "\n" not in str(caught.value)
    (folder / "data_batch_2.bin").rename(folder / "data_batch_3.bin")
    missing = r"holds no data_batch_2\.bin, but data_batch_1\.bin, data_batch_3\.bin: one is"
    with pytest.raises(ValueError, match=missing):
        load(folder)

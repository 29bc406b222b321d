import gzip
import hashlib
import pickle
import struct

import numpy as np
import pytest
import scipy.io
import torch
import torchvision
from PIL import Image
from torch.utils.data import DataLoader

from ann2neo.study.data import Preparation, load_data, named_sets
from helpers.idx import write_idx_set


def in_own_order(data):
    """Stimuli and labels, put back in the order of the file by their ids."""
    order = np.argsort(data.ids)
    items = [data[i] for i in order.tolist()]
    if data.labels is None:
        return torch.stack(items).numpy()
    return torch.stack([x for x, _ in items]).numpy(), np.array([y for _, y in items])


# -- order and parts ---------------------------------------------------------------------------------


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    digits = load_digits()
    x, y = in_own_order(load_data("digits", seed=3))
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x[:, 0], digits.images / 16)
    np.testing.assert_array_equal(y, digits.target)


def test_order_is_a_permutation_drawn_with_the_seed():
    first, again, other = (load_data("digits", seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.ids, again.ids)
    assert not np.array_equal(first.ids, other.ids)
    np.testing.assert_array_equal(np.sort(other.ids), np.arange(1797))
    np.testing.assert_array_equal(load_data("digits", shuffle=False).ids, np.arange(1797))


def test_slices_share_no_stimulus_and_keep_their_labels(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.arange(10.0)[:, None], y=np.arange(10))
    data = load_data(tmp_path / "d.npz")
    shown, others = data[:6], data[6:9]
    assert (len(shown), len(others)) == (6, 3)
    assert not set(shown.ids) & set(others.ids)
    assert all(x.item() == y for x, y in [*shown, *others])


# -- data sets by name -------------------------------------------------------------------------------


@pytest.mark.parametrize("split", [None, "test", "train"])
def test_gzipped_idx_files_in_the_root_itself(tmp_path, split):
    images, labels = write_idx_set(tmp_path)[split or "test"]
    data = load_data("fashion-mnist", root=tmp_path, split=split)
    x, y = in_own_order(data)
    np.testing.assert_allclose(x[:, 0], images / 255, rtol=1e-6)
    np.testing.assert_array_equal(y, labels)
    assert data.classes[9] == "Ankle boot"


def test_unpacked_idx_files_as_torchvision_reads_them(tmp_path):
    write_idx_set(tmp_path / "KMNIST" / "raw", open, "")
    theirs = torchvision.datasets.KMNIST(tmp_path, train=False)
    x, y = in_own_order(load_data("kmnist", root=tmp_path))
    np.testing.assert_allclose(x[:, 0], theirs.data.numpy() / 255, rtol=1e-6)
    np.testing.assert_array_equal(y, theirs.targets)


def test_fashion_mnist_of_debian(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(named_sets, "DEBIAN_FASHION_MNIST", tmp_path / "debian")
    with pytest.raises(FileNotFoundError, match="install Debian's package dataset-fashion-mnist"):
        load_data("fashion-mnist")
    write_idx_set(tmp_path / "debian")
    assert len(load_data("fashion-mnist")) == 20
    with pytest.raises(FileNotFoundError, match=r"elsewhere.*download=True"):
        load_data("fashion-mnist", root="elsewhere")
    with pytest.raises(FileNotFoundError, match=r"^mnist is not in data.*name the folder"):
        load_data("mnist")


def test_download_is_left_to_torchvision(tmp_path, monkeypatch):
    def download(self):
        write_idx_set(tmp_path / "MNIST" / "raw", open, "")

    monkeypatch.setattr(torchvision.datasets.MNIST, "download", download)
    with pytest.raises(FileNotFoundError):
        load_data("mnist", root=tmp_path)
    assert len(load_data("mnist", root=tmp_path, download=True)) == 20


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x1f\x8b not gzip",
        gzip.compress(b"\0\0\x09\1\0\0\0\1\0", mtime=0),  # signed bytes
        gzip.compress(b"\0\0\x08\3" + struct.pack(">3I", 20, 28, 28) + b"too short", mtime=0),
        gzip.compress(b"\0\0\x08\3" + bytes(5000), mtime=0)[:20],
    ],
)
def test_damaged_idx_files_are_named(tmp_path, content):
    write_idx_set(tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(ValueError, match=r"t10k-images-idx3-ubyte\.gz is damaged"):
        load_data("mnist", root=tmp_path)


def test_cifar10(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (6, 3, 32, 32), np.uint8), [3, 1, 4, 1, 5, 9]
    files = {
        "test_batch": {"data": images.reshape(6, -1), "labels": labels},
        "batches.meta": {"label_names": [f"class {i}" for i in range(10)]},
    }
    sums = {}
    (tmp_path / "cifar-10-batches-py").mkdir()
    for name, content in files.items():
        written = pickle.dumps(content)
        (tmp_path / "cifar-10-batches-py" / name).write_bytes(written)
        sums[name] = hashlib.md5(written).hexdigest()
    theirs = torchvision.datasets.CIFAR10
    monkeypatch.setattr(theirs, "train_list", [])
    monkeypatch.setattr(theirs, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(theirs, "meta", {**theirs.meta, "md5": sums["batches.meta"]})
    data = load_data("cifar10", root=tmp_path)
    x, y = in_own_order(data)
    np.testing.assert_allclose(x, images / 255, rtol=1e-6)
    assert y.tolist() == labels
    assert data.classes[3] == "class 3"
    with pytest.raises(FileNotFoundError, match=r"cifar100 is not in .*download=True"):
        load_data("cifar100", root=tmp_path)


def test_svhn(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (32, 32, 3, 5), np.uint8)
    scipy.io.savemat(tmp_path / "test.mat", {"X": images, "y": np.array([[1, 10, 2, 3, 9]]).T})
    md5 = hashlib.md5((tmp_path / "test.mat").read_bytes()).hexdigest()
    theirs = torchvision.datasets.SVHN
    monkeypatch.setattr(theirs, "split_list", {"test": ["", "test.mat", md5]})
    x, y = in_own_order(load_data("svhn", root=tmp_path))
    np.testing.assert_allclose(x, images.transpose(3, 2, 0, 1) / 255, rtol=1e-6)
    assert y.tolist() == [1, 0, 2, 3, 9]  # the files call the digit 0 class 10


def test_missing_scikit_learn_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"ann2neo\[demo\]"):
        load_data("digits")


# -- image folders -----------------------------------------------------------------------------------


def write_image(path, value, size=(5, 4), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)


def test_folder_with_a_subfolder_for_each_class(tmp_path):
    for i, name in enumerate(["dog/b.png", "dog/a.png", "cat/z.png", "cat/deep/c.bmp", ".hidden/x.png"]):
        write_image(tmp_path / name, (i, 0, 255))
    (tmp_path / "dog" / "notes.txt").write_text("no image")
    data = load_data(tmp_path, shuffle=False)
    assert data.classes == ("cat", "dog")
    assert [label for _, label in data] == [0, 0, 1, 1]
    red = [round(x[0, 0, 0].item() * 255) for x, _ in data]
    assert red == [2, 3, 1, 0]
    assert data[0][0].shape == (3, 4, 5)


def test_flat_folder_has_no_labels(tmp_path):
    for i, name in enumerate(["b.PNG", "a.png", "c.jpg"]):
        write_image(tmp_path / name, 40 * i, mode="L")
    data = load_data(tmp_path, shuffle=False)
    assert data.labels is None
    assert [round(x.mean().item() * 255) for x in data] == [40, 0, 80]


@pytest.mark.parametrize("shuffle", [True, False])
def test_files_of_a_folder_stay_with_their_images(tmp_path, shuffle):
    for i in range(8):
        write_image(tmp_path / "ab"[i % 2] / f"ä{i}.png", (30 * i, 0, 0))
    data = load_data(tmp_path, shuffle=shuffle, seed=3)
    for part in (data, data[:5], data[5:], data[::-2]):
        seen = [round(x[0, 0, 0].item() * 255) // 30 for x, _ in part]
        assert part.array_annotations["file"].tolist() == [f"{'ab'[i % 2]}/ä{i}.png" for i in seen]
    assert load_data("digits").array_annotations == {}


def test_folders_that_make_no_sense(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there are no images .* in the folder"):
        load_data(tmp_path)
    (tmp_path / "empty").mkdir()
    write_image(tmp_path / "a.png", 0)
    assert len(load_data(tmp_path)) == 1
    write_image(tmp_path / "class" / "b.png", 0)
    with pytest.raises(ValueError, match=r"holds images itself \(a.png\) and in subfolders \(class"):
        load_data(tmp_path)


def test_images_that_cannot_be_read(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"a\.png cannot be read"):
        load_data(tmp_path)[0]
    Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="more than 8 bits"):
        load_data(tmp_path)[0]


def test_images_of_several_sizes(tmp_path):
    write_image(tmp_path / "a.png", 0, (8, 4))
    write_image(tmp_path / "b.png", 0, (4, 8))
    data = load_data(tmp_path, shuffle=False)
    with pytest.raises(ValueError, match=r"stimulus 1 of .* shape \(3, 8, 4\), the first one \(3, 4, 8\)"):
        list(data)
    data = load_data(tmp_path, prepare=Preparation(size=6))
    assert [x.shape for x in data] == [(3, 6, 6)] * 2


# -- files of arrays ---------------------------------------------------------------------------------

WHOLE = np.array([[0, 1], [200, 255]])


@pytest.mark.parametrize(
    ("stored", "dtype", "expected"),
    [
        (WHOLE.astype(np.uint8), torch.float32, WHOLE / 255),
        (WHOLE.astype(np.int64), torch.int64, WHOLE),
        (WHOLE.astype(np.uint16), torch.int64, WHOLE),
        (WHOLE.astype(">f8") / 7, torch.float32, WHOLE / 7),
        (WHOLE.astype(np.float16), torch.float32, WHOLE),
        (WHOLE > 0, torch.float32, WHOLE > 0),
    ],
)
def test_npy(tmp_path, stored, dtype, expected):
    np.save(tmp_path / "x.npy", stored)
    items = list(load_data(tmp_path / "x.npy", shuffle=False))
    assert [x.dtype for x in items] == [dtype] * 2
    np.testing.assert_allclose(torch.stack(items).numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize(("x", "y"), [("x", "y"), ("stimuli", "labels"), ("x", "labels")])
def test_npz_and_pt_with_labels(tmp_path, x, y):
    stimuli, labels = torch.arange(6.0).reshape(3, 2), torch.tensor([2, 0, 1])
    np.savez(tmp_path / "d.npz", **{x: stimuli, y: labels})
    torch.save({x: stimuli, y: labels}, tmp_path / "d.pt")
    torch.save((stimuli.bfloat16().requires_grad_(), labels), tmp_path / "pair.pt")
    for file in ("d.npz", "d.pt", "pair.pt"):
        loaded = in_own_order(load_data(tmp_path / file))
        np.testing.assert_array_equal(loaded[0], stimuli)
        np.testing.assert_array_equal(loaded[1], labels)


def test_stimuli_without_labels(tmp_path):
    stimuli = torch.arange(6.0).reshape(3, 2)
    torch.save(stimuli, tmp_path / "x.pt")
    np.savez(tmp_path / "x.npz", stimuli=stimuli)
    for file in ("x.pt", "x.npz"):
        np.testing.assert_array_equal(in_own_order(load_data(tmp_path / file)), stimuli)


def test_labels_may_be_names(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.zeros((3, 2)), y=["cat", "dog", "cat"])
    _, labels = next(iter(DataLoader(load_data(tmp_path / "d.npz", shuffle=False), 3)))
    assert list(labels) == ["cat", "dog", "cat"]


class Code:
    def __reduce__(self):
        return (exit, ())


def test_files_never_run_code(tmp_path):
    (tmp_path / "code.pt").write_bytes(pickle.dumps(Code(), protocol=2))
    torch.save({"x": Code()}, tmp_path / "zipped.pt")
    np.save(tmp_path / "code.npy", np.array([Code()], object), allow_pickle=True)
    for file in ("code.pt", "zipped.pt", "code.npy"):
        with pytest.raises(ValueError, match=f"{file} is damaged"):
            load_data(tmp_path / file)


def test_arrays_that_make_no_sense(tmp_path):
    def refused(match, name, **arrays):
        np.savez(tmp_path / name, **arrays)
        with pytest.raises(ValueError, match=match):
            load_data(tmp_path / name)

    refused("name the stimuli 'x' or 'stimuli'", "a.npz", images=np.zeros(3))
    refused("name the stimuli 'x' or 'stimuli'", "b.npz", x=np.zeros(3), stimuli=np.zeros(3))
    refused(r"labels of shape \(2,\) for 3 stimuli", "c.npz", x=np.zeros((3, 2)), y=np.zeros(2))
    refused(r"labels of shape \(3, 10\)", "d.npz", x=np.zeros((3, 2)), y=np.zeros((3, 10)))
    refused("not an array of real numbers", "e.npz", x=np.array(["a", "b"]))
    refused("not an array of real numbers", "f.npz", x=np.zeros((3, 2), complex))
    refused("not an array of real numbers", "g.npz", x=np.float64(3))
    refused("there are no stimuli", "h.npz", x=np.zeros((0, 2)))


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".pt"])
def test_truncated_files(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    {
        ".npy": lambda: np.save(path, np.zeros(1000)),
        ".npz": lambda: np.savez(path, x=np.zeros(1000)),
        ".pt": lambda: torch.save(torch.zeros(1000), path),
    }[suffix]()
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match=f"x{suffix} is damaged"):
        load_data(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=f"x{suffix} is damaged"):
        load_data(path)


def test_what_is_not_there_and_what_does_not_apply(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"'fashon-mnist': give a folder .*fashion-mnist"):
        load_data("fashon-mnist")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load_data(tmp_path / "x.npy")
    (tmp_path / "x.csv").write_text("1,2")
    with pytest.raises(ValueError, match="cannot be read as stimuli"):
        load_data(tmp_path / "x.csv")
    with pytest.raises(ValueError, match=r"split='train' does not apply to digits: .* fashion-mnist"):
        load_data("digits", split="train")
    with pytest.raises(ValueError, match="split='validation': give 'test' or 'train'"):
        load_data("mnist", split="validation")
    with pytest.raises(
        ValueError, match=r"root=.* does not apply to .*: leave it out, or give one of fashion-mnist"
    ):
        load_data(tmp_path / "x.csv", root=tmp_path)


# -- preparation -------------------------------------------------------------------------------------


def test_preparation_for_torchvision_is_that_of_its_weights():
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 300, 260), np.uint8))
    theirs = torchvision.models.ResNet18_Weights.DEFAULT.transforms(crop_size=224, resize_size=224)
    ours = Preparation(size=224, channels=3, normalize=True)
    # theirs resizes bytes, rounding to 1/255, before it normalises
    torch.testing.assert_close(ours(image), theirs(image), atol=0.6 / 255 / 0.224, rtol=0)
    torch.testing.assert_close(Preparation(channels=3, transform=theirs)(image), theirs(image))


@pytest.mark.parametrize("layout", ["chw", "hwc", "hw"])
def test_size_scales_the_short_edge_and_cuts_the_middle_out(layout):
    columns = torch.arange(8, dtype=torch.uint8).expand(1, 4, 8)
    image = {"chw": columns, "hwc": columns.movedim(0, 2), "hw": columns[0]}[layout]
    cut = Preparation(size=4)(image)
    torch.testing.assert_close(cut * 255, torch.tensor([2.0, 3, 4, 5]).expand(1, 4, 4))
    assert Preparation(size=8)(image).shape == (1, 8, 8)


def test_channels():
    grey, coloured = torch.rand(1, 4, 4), torch.rand(3, 4, 4)
    torch.testing.assert_close(Preparation(channels=3)(grey), torch.cat([grey] * 3))
    weights = torch.tensor([0.299, 0.587, 0.114])[:, None, None]  # ITU-R BT.601
    torch.testing.assert_close(
        Preparation(channels=1)(coloured), (weights * coloured).sum(0, keepdim=True), atol=1e-3, rtol=0
    )
    torch.testing.assert_close(Preparation(channels=3)(coloured), coloured)


def test_preparations_that_make_no_sense():
    with pytest.raises(ValueError, match="size=0"):
        Preparation(size=0)
    with pytest.raises(ValueError, match="channels=4"):
        Preparation(channels=4)
    with pytest.raises(ValueError, match="three channels"):
        Preparation(normalize=True)
    with pytest.raises(ValueError, match=r"shape \(64,\) is not an image of 1 or 3"):
        Preparation(size=8)(torch.zeros(64))
    with pytest.raises(ValueError, match="cannot normalise an image with values from -1 to 2"):
        Preparation(channels=3, normalize=True)(torch.tensor([[-1.0, 2.0]]))

"""Memory that is shared with other libraries: DLPack, and what they do with a Tensor."""

import numpy as np
import pytest

import gpunet
from gpunet import tensor
from gpunet.backend import use_backend
from gpunet.errors import BackendError, DTypeError, GradientError


@pytest.fixture(autouse=True)
def _on_numpy():
    with use_backend("numpy"):
        yield


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64", "uint8", "bool"])
def test_torch_sees_the_memory_of_a_tensor(dtype):
    torch = pytest.importorskip("torch")
    ours = tensor(np.arange(6).reshape(2, 3).astype(dtype)).transpose(0, 1)
    theirs = torch.from_dlpack(ours)
    assert (str(theirs.dtype), tuple(theirs.shape)) == (f"torch.{dtype}", (3, 2))
    theirs[2, 1] = 0
    assert ours[2, 1].item() == 0
    np.testing.assert_array_equal(theirs.numpy(), ours.numpy())


def test_a_tensor_sees_the_memory_of_torch():
    torch = pytest.importorskip("torch")
    theirs = torch.arange(6.0).reshape(2, 3).T
    ours = gpunet.from_dlpack(theirs)
    ours += 1
    assert theirs[0].tolist() == ours[0].tolist() == [1, 4]
    theirs[0, 0] = 9
    assert ours[0, 0].item() == 9


def test_numpy_both_ways():
    array = np.arange(4.0)
    ours = gpunet.from_dlpack(array)
    ours[1] = 7
    assert array[1] == 7
    back = np.from_dlpack(ours)
    assert np.shares_memory(back, array)
    assert np.shares_memory(gpunet.from_dlpack(ours).numpy(), array)


def test_what_cannot_be_shared():
    torch = pytest.importorskip("torch")
    with pytest.raises(GradientError, match="another library cannot compute with a Tensor that requires grad"):
        torch.from_dlpack(tensor([1.0], requires_grad=True))
    with pytest.raises(BackendError, match=r"this Tensor cannot be shared: .*grad"):
        gpunet.from_dlpack(torch.ones(2, requires_grad=True))
    with pytest.raises(DTypeError, match="from_dlpack expects real numbers of at most 64 bits, got complex64"):
        gpunet.from_dlpack(torch.ones(2, dtype=torch.complex64))
    with pytest.raises(DTypeError, match="expects an array of another library, got list"):
        gpunet.from_dlpack([1.0])
    assert not hasattr(tensor([1.0]), "__cuda_array_interface__")


def test_the_emulated_backend_shares_with_nobody(counters):
    ours = tensor([1.0])
    for share in (ours.__dlpack__, ours.__dlpack_device__, lambda: gpunet.from_dlpack(np.ones(1))):
        with pytest.raises(BackendError, match="shares its memory with nobody"):
            share()


def test_plots_take_tensors():
    pyplot = pytest.importorskip("matplotlib.figure")
    axes = pyplot.Figure().subplots()
    x = tensor([0.0, 1.0, 2.0])
    (line,) = axes.plot(x, x * x)
    assert line.get_ydata().tolist() == [0, 1, 4]
    axes.imshow(tensor(np.zeros((4, 4), np.float32)))
    axes.bar([0, 1, 2], x)
    axes.hist(x)


def test_pictures_take_tensors():
    image = pytest.importorskip("PIL.Image")
    pixels = tensor(np.arange(12, dtype=np.uint8).reshape(2, 2, 3))
    assert np.asarray(image.fromarray(np.asarray(pixels))).tolist() == pixels.tolist()


def test_tables_take_tensors():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"a": tensor([1.0, 2.0]), "b": tensor([3, 4])})
    assert table["a"].sum() == 3
    assert gpunet.tensor(table["b"]).tolist() == [3, 4]


def test_metrics_take_tensors():
    metrics = pytest.importorskip("sklearn.metrics")
    labels, predicted = tensor([0, 1, 1, 2]), tensor([0, 1, 2, 2])
    assert metrics.accuracy_score(labels, predicted) == 0.75
    assert metrics.confusion_matrix(labels, predicted).tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 1]]
    assert metrics.log_loss([0, 1], tensor([[0.75, 0.25], [0.5, 0.5]])) > 0

"""Ready-made spaces: what is accepted, and every way in which one can be wrong."""

from pathlib import Path

import numpy as np
import pytest

from hume_ssl.errors import InputError
from hume_ssl.files import read_npy
from hume_ssl.spaces import loading
from hume_ssl.spaces.loading import check_space, load_space


def space(n: int = 20, d: int = 3, dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, d)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_mapped_not_read(tmp_path: Path, dtype: type) -> None:
    np.save(tmp_path / "a.npy", space(dtype=dtype))
    loaded = load_space(tmp_path / "a.npy")
    assert isinstance(loaded, np.memmap) and loaded.dtype == dtype and not loaded.flags.writeable
    np.testing.assert_array_equal(loaded, space(dtype=dtype))
    check_space(loaded, "a.npy", labeller=True)


def test_files_that_are_no_space(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    for array, message in [
        (np.zeros((4, 2), int), "int64"),
        (np.zeros(4), r"\(4,\)"),
        (np.zeros((4, 2, 1)), r"\(4, 2, 1\)"),
        (np.zeros((0, 2)), "nothing in it"),
        (np.zeros((4, 2), complex), "complex128"),
    ]:
        np.save(path, array)
        with pytest.raises(InputError, match=message) as caught:
            load_space(path)
        assert "a.npy" in str(caught.value)


def test_files_that_are_no_array(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    whole = tmp_path / "whole.npy"
    np.save(whole, space())
    np.savez(tmp_path / "many.npz", a=space())
    for data, message in [
        (path.read_bytes(), "pickle"),
        (whole.read_bytes()[:-4], "cut short"),
        (whole.read_bytes()[:20], r"a\.npy"),
        (b"", r"a\.npy"),
        (b"x,y\n1,2\n", r"a\.npy"),
        ((tmp_path / "many.npz").read_bytes(), "several arrays"),
    ]:
        path.write_bytes(data)
        with pytest.raises(InputError, match=message) as caught:
            load_space(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"gone\.npy"):
        load_space(tmp_path / "gone.npy")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("chunk_bytes", [1 << 26, 30])
def test_the_first_bad_row_is_named(value: float, chunk_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_CHUNK_BYTES", chunk_bytes)  # 30 bytes: two rows a chunk
    array = space()
    array[[7, 13], 2] = value
    with pytest.raises(InputError, match=rf"judge\.npy holds {value} in row 7;"):
        check_space(array, "judge.npy")


def test_a_row_of_zeros_is_refused_for_the_labeller_only() -> None:
    array = space()
    array[5] = 0
    check_space(array, "a.npy")
    with pytest.raises(InputError, match=r"a\.npy: row 5 is all zeros"):
        check_space(array, "a.npy", labeller=True)


@pytest.mark.parametrize(
    "header",
    ["{'descr': '<f4', 'shape': ((((", "[" * 5000, "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 9)}"],
)
def test_headers_that_numpy_itself_trips_over(tmp_path: Path, header: str) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(64))
    with pytest.raises(InputError, match=r"a\.npy is not a readable npy array"):
        load_space(path)


def test_a_huge_shape_takes_no_room(tmp_path: Path) -> None:
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 9)}"
    path = tmp_path / "a.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(64))
    with pytest.raises(InputError, match="not a readable npy array") as caught:
        read_npy(path, mmap=False)
    assert not isinstance(caught.value.__cause__, MemoryError)

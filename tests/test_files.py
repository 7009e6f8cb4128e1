"""A written file is complete or absent; numbered names come in the order of their numbers."""

from __future__ import annotations

import errno
import os
import sys

import pytest

from lithepose.files import atomic_write, natural_order


def test_the_file_appears_when_the_block_ends_well(tmp_path):
    path = tmp_path / "new" / "result.mp4"
    with atomic_write(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.suffix == ".mp4"
        temporary.write_text("done")
        assert not path.exists()
    assert path.read_text() == "done"
    assert [p.name for p in path.parent.iterdir()] == ["result.mp4"]


@pytest.mark.parametrize("error", [RuntimeError("codec"), KeyboardInterrupt()])
def test_a_failed_block_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "result.npz"
    path.write_text("old")

    def write_half() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path):
    path = tmp_path / "result.npz"
    with pytest.raises(OSError, match="disk is full") as caught, atomic_write(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.errno == errno.ENOSPC
    assert "result.npz" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EACCES])
def test_errors_about_other_files_pass_through_unchanged(tmp_path, number):
    original = OSError(number, "trouble", "input.mov")
    with pytest.raises(OSError, match=r"input\.mov") as caught, atomic_write(tmp_path / "x.txt"):
        raise original
    assert caught.value is original


def test_a_writer_that_removes_the_temporary_file_itself_is_reported(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "x.txt") as temporary:
        temporary.unlink()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_place_of_the_file_is_refused(tmp_path):
    (tmp_path / "out.npz").mkdir()
    with pytest.raises(OSError, match="that is a folder"), atomic_write(tmp_path / "out.npz"):
        pass


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(OSError, match="not a folder"), atomic_write(tmp_path / "out" / "x.npz"):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="folders have no such permission on Windows")
def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("the superuser may write anywhere")
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    with pytest.raises(PermissionError, match="no permission"), atomic_write(locked / "x.npz"):
        pass
    locked.chmod(0o700)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no file mode")
def test_the_file_is_as_readable_as_any_other(tmp_path):
    with atomic_write(tmp_path / "a.txt") as temporary:
        temporary.write_text("")
    (tmp_path / "b.txt").write_text("")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "b.txt").stat().st_mode


def test_names_are_sorted_as_people_count():
    names = ["frame_10.png", "Frame_9.png", "frame_1.png", "frame_1b.png", "10.png", "2.png"]
    expected = ["2.png", "10.png", "frame_1.png", "frame_1b.png", "Frame_9.png", "frame_10.png"]
    assert sorted(names, key=natural_order) == expected


def test_numbers_in_names_count_as_numbers():
    names = ["10.png", "2.PNG", "02.png", "2.png", "1.png", "a10b2", "a10b", "A9c", "", "a²"]
    expected = ["", "1.png", "02.png", "2.PNG", "2.png", "10.png", "A9c", "a10b", "a10b2", "a²"]
    assert sorted(names, key=natural_order) == expected

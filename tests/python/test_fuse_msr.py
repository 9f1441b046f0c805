# SPDX-License-Identifier: MIT
"""The registers that other tests are served with are what they should be."""

from __future__ import annotations

import errno
import os
import signal
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from fuse_msr import OPEN, MsrFs, Staircase, why_not

_REASON = why_not()
pytestmark = pytest.mark.skipif(_REASON is not None, reason=_REASON or "")

UNIT, CORE, PACKAGE = 0xC0010299, 0xC001029A, 0xC001029B


@pytest.fixture
def opened() -> Iterator[list[int]]:
    fds: list[int] = []
    yield fds
    for fd in fds:
        with suppress(OSError):  # closing asks the server as well, which is gone by now
            os.close(fd)


def open_msr(fs: MsrFs, cpu: int, opened: list[int]) -> int:
    opened.append(os.open(fs.path / f"cpu/{cpu}/msr", os.O_RDONLY))
    return opened[-1]


def read(fd: int, register: int) -> int:
    return int(struct.unpack("<Q", os.pread(fd, 8, register))[0])


def is_mounted(path: Path) -> bool:
    return f" {path} fuse" in Path("/proc/self/mounts").read_text()


def test_registers_that_overlap_in_a_file_are_apart(tmp_path: Path, opened: list[int]) -> None:
    table = {
        (cpu, register): 0x1122334455667788 + register + (cpu << 56)
        for cpu in (0, 9)
        for register in (UNIT, CORE, PACKAGE, 0x611, 0x612)
    }
    with MsrFs(tmp_path, table) as fs:
        for cpu in (0, 9):
            fd = open_msr(fs, cpu, opened)
            for register in (UNIT, CORE, PACKAGE, 0x611, 0x612):
                assert read(fd, register) == table[cpu, register]


def test_reads_are_as_the_kernels_driver_makes_them(tmp_path: Path, opened: list[int]) -> None:
    with MsrFs(tmp_path, {(0, 0x611): 0xFFFFFFFFFFFFFFFF, (0, 0x619): -errno.EACCES}) as fs:
        fd = open_msr(fs, 0, opened)
        assert os.pread(fd, 16, 0x611) == b"\xff" * 16
        for size, register, code in ((8, 0x610, errno.EIO), (8, 0x619, errno.EACCES), (4, 0x611, errno.EINVAL)):
            with pytest.raises(OSError) as caught:
                os.pread(fd, size, register)
            assert caught.value.errno == code
        with pytest.raises(PermissionError):
            os.open(fs.path / "cpu/0/msr", os.O_RDWR)


def test_the_tree_lists_its_cpus(tmp_path: Path) -> None:
    with MsrFs(tmp_path, {(0, 0x611): 1, (12, 0x611): 1}, mode=0o640) as fs:
        assert os.listdir(fs.path) == ["cpu"]
        assert sorted(os.listdir(fs.path / "cpu")) == ["0", "12"]
        assert os.listdir(fs.path / "cpu/12") == ["msr"]
        assert (fs.path / "cpu/12/msr").stat().st_mode & 0o777 == 0o640
        assert not (fs.path / "cpu/1").exists()


def test_a_cpu_that_is_offline_cannot_be_opened(tmp_path: Path) -> None:
    with MsrFs(tmp_path, {(0, OPEN): -errno.ENXIO}) as fs, pytest.raises(OSError) as caught:
        os.open(fs.path / "cpu/0/msr", os.O_RDONLY)
    assert caught.value.errno == errno.ENXIO


def test_values_change_while_mounted(tmp_path: Path, opened: list[int]) -> None:
    with MsrFs(tmp_path, {(0, 0x611): 1}) as fs:
        fd = open_msr(fs, 0, opened)
        for value in (2, 3):
            fs.set({(0, 0x611): value, (0, 0x619): value + 10})
            assert read(fd, 0x611) == value
            assert read(fd, 0x619) == value + 10
        fs.set({(0, 0x611): -errno.ENXIO})
        with pytest.raises(OSError):
            read(fd, 0x611)


def test_a_staircase_is_exact_and_its_stamp_is_the_time_of_the_update(tmp_path: Path, opened: list[int]) -> None:
    origin = time.monotonic_ns() - 10**9
    stairs = Staircase(milliwatts=123_456, esu=14, origin_ns=origin, period_ns=20_000_000, start=0xFFFFFF00)
    with MsrFs(tmp_path, {(0, 0x611): stairs.now, (0, 0x612): stairs.stamped_now}) as fs:
        fd = open_msr(fs, 0, opened)
        checked = 0
        for _ in range(2000):
            before = time.monotonic_ns()
            energy, stamped = read(fd, 0x611), read(fd, 0x612)
            after = time.monotonic_ns()
            if stairs.updated_ns(before) != stairs.updated_ns(after):
                continue
            assert energy == stairs.count(before) % 2**32
            assert stamped & 0xFFFFFFFF == energy
            assert stamped >> 32 == stairs.updated_ns(before) // 10 % 2**32
            checked += 1
        assert checked > 0
    assert stairs.count(origin) == 0xFFFFFF00
    joules = (stairs.count(origin + 10 * 10**9) - stairs.count(origin)) / 2**14
    assert joules == pytest.approx(1234.56, abs=2**-14)


def test_a_function_that_throws_is_a_register_that_fails(tmp_path: Path, opened: list[int]) -> None:
    with MsrFs(tmp_path, {(0, 0x611): lambda: 1 // 0, (0, 0x619): 5}) as fs:
        fd = open_msr(fs, 0, opened)
        with pytest.raises(OSError):
            read(fd, 0x611)
        assert read(fd, 0x619) == 5


def test_readers_get_an_error_when_the_server_is_gone_and_nothing_stays_mounted(
    tmp_path: Path, opened: list[int]
) -> None:
    for end in (MsrFs.kill, MsrFs.close):
        with MsrFs(tmp_path, {(0, 0x611): 1}) as fs:
            fd = open_msr(fs, 0, opened)
            assert read(fd, 0x611) == 1
            assert is_mounted(fs.path)
            end(fs)
            with pytest.raises(OSError):
                read(fd, 0x611)
        assert not is_mounted(tmp_path)
        assert os.listdir(tmp_path) == []


def test_the_mount_ends_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    told, tell = os.pipe()
    parent = os.fork()
    if parent == 0:
        fs = MsrFs(tmp_path, {(0, 0x611): 1})
        os.write(tell, b"x" if is_mounted(fs.path) else b"-")
        signal.pause()
    assert os.read(told, 1) == b"x"
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    deadline = time.monotonic() + 10
    while is_mounted(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_mounted(tmp_path)

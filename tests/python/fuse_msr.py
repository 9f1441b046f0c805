# SPDX-License-Identifier: MIT
"""Processor registers served as files, /dev/cpu/N/msr without the hardware.

An ordinary file cannot stand for a register file whose registers overlap (AMD's, and 0x611 with 0x612), because there a
register is the eight bytes at the offset of its number. Here the kernel asks us for every read instead: this module
speaks the kernel's FUSE protocol itself, so it needs nothing but root and /dev/fuse.

    with MsrFs(tmp_path / "dev", {(0, 0x606): 0xA0E03, (0, 0x611): lambda: ...}) as fs:
        os.pread(os.open(fs.path / "cpu/0/msr", os.O_RDONLY), 8, 0x611)
        fs.set({(0, 0x611): 17})

A child process serves the mount. It ends with its parent, however that ends, and the mount with it; readers then get
ENOTCONN at once and never wait.
"""

from __future__ import annotations

import ctypes
import errno
import os
import pickle
import select
import signal
import socket
import stat
import struct
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

# A register's value, a function that gives it when it is read, or an errno with a minus sign. The key of an errno for
# opening the device (ENXIO: the CPU is offline) is (cpu, OPEN). A register that is not in the table gives EIO.
Value = int | Callable[[], int]
Table = Mapping[tuple[int, int], Value]
OPEN = -1

_MASK64 = (1 << 64) - 1
_TIMEOUT_S = 10.0

# <linux/fuse.h>
_LOOKUP, _FORGET, _GETATTR, _OPEN, _READ, _STATFS, _RELEASE = 1, 2, 3, 14, 15, 17, 18
_FLUSH, _INIT, _OPENDIR, _READDIR, _RELEASEDIR, _INTERRUPT, _DESTROY, _BATCH_FORGET = 25, 26, 27, 28, 29, 36, 38, 42
_FOPEN_DIRECT_IO = 1
_IN_HEADER = struct.Struct("<IIQQIIII")
_OUT_HEADER = struct.Struct("<IiQ")
_ATTR = struct.Struct("<6Q10I")
_READ_IN = struct.Struct("<QQI")
_BUFFER = 1 << 18

_MS_NOSUID, _MS_NODEV, _MNT_DETACH = 2, 4, 2

_ROOT, _CPU_FOLDER, _FIRST = 1, 2, 16


def why_not() -> str | None:
    """The reason why this machine cannot serve registers, or None where it can."""
    if not sys.platform.startswith("linux"):
        return "FUSE needs Linux"
    if os.geteuid() != 0:
        return "mounting needs root"
    if not os.path.exists("/dev/fuse"):
        return "there is no /dev/fuse"
    with tempfile.TemporaryDirectory() as folder:
        try:
            MsrFs(Path(folder), {}).close()
        except OSError as error:
            return f"cannot mount: {error.strerror}"
    return None


@dataclass(frozen=True)
class Staircase:
    """A counter under constant load that moves once a period; exact, in integers.

    At t (CLOCK_MONOTONIC, ns) the counter shows the energy since `origin_ns` as of the last whole period, in counts of
    2^-esu joules, behind `start`.
    """

    milliwatts: int
    esu: int
    origin_ns: int
    period_ns: int = 1_000_000
    start: int = 1

    def updated_ns(self, t_ns: int) -> int:
        return t_ns - (t_ns - self.origin_ns) % self.period_ns

    def count(self, t_ns: int) -> int:
        """The count at t, not yet wrapped."""
        return self.start + (self.milliwatts * (self.updated_ns(t_ns) - self.origin_ns) << self.esu) // 10**12

    def now(self) -> int:
        return self.count(time.monotonic_ns()) & 0xFFFFFFFF

    def stamped_now(self) -> int:
        """As MSR 0x612: the count, and the time of its update in ticks of 10 ns above."""
        t_ns = time.monotonic_ns()
        return (self.updated_ns(t_ns) // 10 & 0xFFFFFFFF) << 32 | self.count(t_ns) & 0xFFFFFFFF


class MsrFs:
    """`folder` (made if it is not there) becomes a /dev with cpu/N/msr for every CPU of the table, while this lives.

    Throws OSError where it cannot be mounted. Functions of the table run in the child process, one at a time.
    """

    def __init__(self, folder: Path, table: Table, mode: int = 0o600) -> None:
        self.path = Path(folder)
        self.path.mkdir(parents=True, exist_ok=True)
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(_TIMEOUT_S)
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():
            # Python 3.12 warns of other threads' locks; the child takes none of theirs and never returns.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._child = os.fork()
        if self._child == 0:
            self._control.close()
            _serve_and_exit(self.path, dict(table), mode, theirs)
        theirs.close()
        try:
            self._expect_answer()
        except BaseException:
            self.close()
            raise

    def set(self, values: Mapping[tuple[int, int], int]) -> None:
        """Changes registers; every read that begins after this returns sees the new values."""
        self._control.send(pickle.dumps(dict(values)))
        self._expect_answer()

    def close(self) -> None:
        """Unmounts and ends the child. Readers that still have a file open get errors from now on."""
        if self._child == 0:
            return
        child, self._child = self._child, 0
        with suppress(OSError):
            _unmount(self.path)
        self._control.close()
        deadline = time.monotonic() + _TIMEOUT_S
        while os.waitpid(child, os.WNOHANG)[0] == 0:
            if time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return
            time.sleep(0.001)

    def kill(self) -> None:
        """Ends the server as a crash would, without unmounting."""
        os.kill(self._child, signal.SIGKILL)
        os.waitid(os.P_PID, self._child, os.WEXITED | os.WNOWAIT)

    def __enter__(self) -> MsrFs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _expect_answer(self) -> None:
        answer = self._control.recv(64)
        if not answer:
            raise OSError(errno.ENOTCONN, "the server of registers has gone")
        code = int(answer)
        if code != 0:
            raise OSError(code, os.strerror(code), str(self.path))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _mount(path: Path, fuse: int) -> None:
    options = f"fd={fuse},rootmode=40755,user_id=0,group_id=0,allow_other,default_permissions"
    if _libc().mount(b"msr", os.fsencode(path), b"fuse", _MS_NOSUID | _MS_NODEV, options.encode()) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(path))


def _unmount(path: Path) -> None:
    # Lazily: a reader that keeps a file open must not keep us here.
    if _libc().umount2(os.fsencode(path), _MNT_DETACH) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(path))


def _serve_and_exit(path: Path, table: dict[tuple[int, int], Value], mode: int, control: socket.socket) -> None:
    """The child's whole life; never returns into the parent's code."""
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-C ends the parent, which ends us
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        try:
            fuse = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
            _mount(path, fuse)
        except OSError as error:
            control.send(str(error.errno).encode())
            return
        try:
            _Server(fuse, control, table, mode).run()
            status = 0
        finally:
            with suppress(OSError):
                _unmount(path)
    except BaseException as error:
        with suppress(OSError):
            os.write(2, f"fuse_msr: {error!r}\n".encode())
    finally:
        os._exit(status)


class _Server:
    """Answers the kernel until the mount or the parent is gone."""

    def __init__(self, fuse: int, control: socket.socket, table: dict[tuple[int, int], Value], mode: int) -> None:
        self._fuse = fuse
        self._control = control
        self._table = table
        self._mode = mode
        self._cpus = sorted({cpu for cpu, _ in table})
        self._is_ready = False

    def run(self) -> None:
        poll = select.poll()
        poll.register(self._fuse, select.POLLIN)
        poll.register(self._control, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if not (self._answer_kernel() if fd == self._fuse else self._answer_parent()):
                    return

    def _answer_parent(self) -> bool:
        message = self._control.recv(1 << 20)
        if not message:
            return False
        self._table.update(pickle.loads(message))
        self._control.send(b"0")
        return True

    def _answer_kernel(self) -> bool:
        try:
            request = os.read(self._fuse, _BUFFER)
        except OSError as error:
            # The request was withdrawn; else ENODEV: unmounted.
            return error.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN)
        _, opcode, unique, node, _, _, _, _ = _IN_HEADER.unpack_from(request)
        if opcode in (_FORGET, _BATCH_FORGET, _INTERRUPT):
            return True  # these want no answer
        try:
            payload = self._handle(opcode, node, request[_IN_HEADER.size :])
            code = 0
        except OSError as error:
            payload, code = b"", -(error.errno or errno.EIO)
        except Exception as error:
            os.write(2, f"fuse_msr: {error!r}\n".encode())
            payload, code = b"", -errno.EIO
        with suppress(OSError):  # ENOENT: the reader was interrupted meanwhile
            os.write(self._fuse, _OUT_HEADER.pack(_OUT_HEADER.size + len(payload), code, unique) + payload)
        if opcode == _INIT and not self._is_ready:
            self._is_ready = True
            self._control.send(b"0")
        return bool(opcode != _DESTROY)

    def _handle(self, opcode: int, node: int, body: bytes) -> bytes:
        if opcode == _INIT:
            _, minor, readahead, _ = struct.unpack_from("<4I", body)
            return struct.pack("<4I2H2I2H8I", 7, min(minor, 31), readahead, 0, 16, 12, 1 << 17, 1, 0, 0, *[0] * 8)
        if opcode == _LOOKUP:
            child = self._children(node).get(os.fsdecode(body[:-1]))
            if child is None:
                raise OSError(errno.ENOENT, "no such file")
            return struct.pack("<4Q2I", child, 0, 1, 1, 0, 0) + self._attributes(child)
        if opcode == _GETATTR:
            return struct.pack("<Q2I", 1, 0, 0) + self._attributes(node)
        if opcode == _OPEN:
            return self._open(node, struct.unpack_from("<I", body)[0])
        if opcode == _OPENDIR:
            return struct.pack("<Q2I", 0, 0, 0)
        if opcode == _READ:
            _, register, size = _READ_IN.unpack_from(body)
            return self._read(node, register, size)
        if opcode == _READDIR:
            _, offset, size = _READ_IN.unpack_from(body)
            return self._list(node, offset, size)
        if opcode == _STATFS:
            return bytes(80)
        if opcode in (_RELEASE, _RELEASEDIR, _FLUSH, _DESTROY):
            return b""
        raise OSError(errno.ENOSYS, "not served")

    def _children(self, node: int) -> dict[str, int]:
        if node == _ROOT:
            return {"cpu": _CPU_FOLDER}
        if node == _CPU_FOLDER:
            return {str(cpu): _FIRST + 2 * cpu for cpu in self._cpus}
        return {} if self._is_file(node) else {"msr": node + 1}

    @staticmethod
    def _is_file(node: int) -> bool:
        return node >= _FIRST and node % 2 == 1

    def _attributes(self, node: int) -> bytes:
        is_file = self._is_file(node)
        mode = stat.S_IFREG | self._mode if is_file else stat.S_IFDIR | 0o755
        return _ATTR.pack(node, 0, 0, 0, 0, 0, 0, 0, 0, mode, 1 if is_file else 2, 0, 0, 0, 4096, 0)

    def _open(self, node: int, flags: int) -> bytes:
        code = self._value((node - _FIRST) // 2, OPEN, 0)
        if code < 0:
            raise OSError(-code, "cannot be opened")
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise OSError(errno.EACCES, "registers are only read")
        return struct.pack("<Q2I", 0, _FOPEN_DIRECT_IO, 0)

    def _read(self, node: int, register: int, size: int) -> bytes:
        # As the kernel's driver: whole registers, and more than one reads the same one again.
        if size % 8 != 0:
            raise OSError(errno.EINVAL, "not a multiple of eight")
        value = self._value((node - _FIRST) // 2, register, -errno.EIO)
        if value < 0:
            raise OSError(-value, "no such register")
        return struct.pack("<Q", value & _MASK64) * (size // 8)

    def _value(self, cpu: int, register: int, absent: int) -> int:
        value = self._table.get((cpu, register), absent)
        return value() if callable(value) else value

    def _list(self, node: int, offset: int, size: int) -> bytes:
        listing = b""
        for index, (name, child) in enumerate(self._entries(node), 1):
            text = os.fsencode(name)
            kind = (stat.S_IFREG if self._is_file(child) else stat.S_IFDIR) >> 12
            entry = struct.pack("<2Q2I", child, index, len(text), kind) + text
            entry += bytes(-len(entry) % 8)
            if index > offset and len(listing) + len(entry) <= size:
                listing += entry
        return listing

    def _entries(self, node: int) -> Iterator[tuple[str, int]]:
        yield ".", node
        yield "..", _ROOT
        yield from self._children(node).items()

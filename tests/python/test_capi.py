# SPDX-License-Identifier: MIT
"""The C interface from outside: the installed library by ctypes, and a C extension that shares Python's probe."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import re
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Machine

import powerprobe as pp
from powerprobe import default, embedding

BUILD = ["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{pp.get_include()}"]


class Joules(ctypes.Structure):
    _fields_ = (
        ("struct_size", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("joules", ctypes.c_double),
        ("lower", ctypes.c_double),
        ("upper", ctypes.c_double),
    )


class Options(ctypes.Structure):
    _fields_ = (
        ("struct_size", ctypes.c_uint32),
        ("strict", ctypes.c_int32),
        ("channels", ctypes.c_char_p),
        ("sources", ctypes.c_char_p),
        ("period_ns", ctypes.c_int64),
        ("history_ns", ctypes.c_int64),
        ("root", ctypes.c_char_p),
    )


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    library = ctypes.CDLL(pp.get_library())
    library.pp_version.restype = ctypes.c_char_p
    library.pp_mark.restype = ctypes.c_int64
    library.pp_mark.argtypes = [ctypes.c_void_p]
    library.pp_close.argtypes = [ctypes.c_void_p]
    library.pp_close.restype = None
    library.pp_energy.argtypes = [
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_int64,
        ctypes.c_int64,
        ctypes.c_int64,
        ctypes.POINTER(Joules),
    ]
    return library


def test_the_installed_library_measures(library: ctypes.CDLL) -> None:
    assert library.pp_version().decode() == pp.__version__
    options = Options(ctypes.sizeof(Options), 0, None, b"cpu_model", 0, 0, None)
    probe = ctypes.c_void_p()
    assert library.pp_open(ctypes.byref(options), ctypes.byref(probe)) == 0

    start = library.pp_mark(probe)
    end = library.pp_mark(probe)
    energy = Joules(ctypes.sizeof(Joules))
    assert library.pp_energy(probe, 0xFFFFFFFF, start, end, 5_000_000_000, energy) == 0
    library.pp_close(probe)

    assert start < end <= pp.now_ns()
    assert 0 <= energy.lower <= energy.joules <= energy.upper
    assert energy.flags & pp.EDGE_FLAGS["estimated"]


def test_only_the_interface_is_exported() -> None:
    listed = subprocess.run(
        ["nm", "-D", "--defined-only", pp.get_library()], check=True, capture_output=True, text=True
    )
    names = {line.split()[-1].split("@")[0] for line in listed.stdout.splitlines()} - {"POWERPROBE_0"}
    declared = set(re.findall(r"^PP_API .*?\b(pp_\w+)\(", (Path(pp.get_include()) / "powerprobe.h").read_text(), re.M))
    assert names == declared


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(embedding._core, "__file__", str(tmp_path / "_core.so"))
    for find in (pp.get_include, pp.get_library, pp.get_cmake_dir):
        with pytest.raises(pp.Unavailable, match="is missing") as caught:
            find()
        assert caught.value.path is not None and caught.value.remedy


@pytest.fixture(scope="module")
def shares(tmp_path_factory: pytest.TempPathFactory) -> object:
    built = tmp_path_factory.mktemp("shares") / "shares.so"
    source = Path(__file__).with_name("shares.c")
    include = sysconfig.get_paths()["include"]
    subprocess.run([*BUILD, f"-isystem{include}", "-shared", "-fPIC", str(source), "-o", str(built)], check=True)
    spec = importlib.util.spec_from_file_location("shares", built)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def samplers() -> int:
    names = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it ended meanwhile
            names.append((task / "comm").read_text())
    return sum(name.startswith("pp-") for name in names)


@pytest.mark.parametrize("first", ["C", "Python"])
def test_c_and_python_share_one_sampler(machine: Machine, shares: object, first: str) -> None:
    before = samplers()
    if first == "Python":
        with pp.measure():
            pass
    assert shares.open_shared() == 2  # type: ignore[attr-defined]  # package-0 and core-0; single cores are not asked for
    shares.measure()  # type: ignore[attr-defined]  # the thread has its name by then
    with pp.measure() as m:
        lower, upper, start, end = shares.measure()  # type: ignore[attr-defined]

    assert samplers() == before + 1
    assert machine.searches == 1
    assert m.channels == ("package-0", "core-0")
    assert m.start_ns <= start < end  # 3 W; core-0 is inside the package
    assert lower <= 3 * (end - start) * 1e-9 <= upper
    shares.close_shared()  # type: ignore[attr-defined]
    with pp.measure() as after:
        pass
    assert after.total >= 0 and after._probe is m._probe


def test_the_probe_lives_on_in_c_and_says_that_it_is_stopped(machine: Machine, shares: object) -> None:
    shares.open_shared()  # type: ignore[attr-defined]
    for shared in default._probes.values():
        shared.close()
    with pytest.raises(RuntimeError, match="3 the probe is not running"):
        shares.measure()  # type: ignore[attr-defined]
    default._probes.clear()
    shares.close_shared()  # type: ignore[attr-defined]


def test_c_is_told_why_nothing_can_be_read(machine: Machine, shares: object) -> None:
    machine.error = pp.PermissionDenied("may not read it", "/dev/x", 13, "chmod")
    with pytest.raises(RuntimeError, match=r"2 may not read it \[chmod\]"):
        shares.open_shared()  # type: ignore[attr-defined]
    machine.error = ZeroDivisionError("odd")
    with pytest.raises(RuntimeError, match="3 .*odd"):
        shares.open_shared()  # type: ignore[attr-defined]


def test_a_program_ends_quietly_with_c_in_it(python: Callable, shares: object) -> None:
    done = python(f"""
        import importlib.util
        import conftest, powerprobe as pp
        from powerprobe import default
        default.discover = conftest.Machine().discover
        spec = importlib.util.spec_from_file_location("shares", {shares.__file__!r})
        shares = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(shares)
        shares.open_shared()
        print(shares.measure()[1] > 0)
    """)  # type: ignore[attr-defined]
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


PROGRAM = """
#include <powerprobe.h>
#include <stdio.h>
int main(void) {
  pp_options options = PP_OPTIONS_INIT;
  options.sources = "cpu_model";
  options.strict = 0;
  pp_probe *probe = NULL;
  if (pp_open(&options, &probe) != PP_OK) return 1;
  puts(pp_version());
  pp_close(probe);
  return 0;
}
"""


def test_a_program_is_built_with_pkg_config_as_it_says(tmp_path: Path) -> None:
    # pkg-config itself need not be here: its file is three variables and two lines.
    folder = Path(pp.get_library()).parent / "pkgconfig"
    text = (folder / "powerprobe.pc").read_text().replace("${pcfiledir}", str(folder))
    while names := re.findall(r"\$\{(\w+)\}", text):
        for name in names:
            text = text.replace(f"${{{name}}}", re.search(rf"^{name}=(.*)$", text, re.M)[1])
    flags = [re.search(rf"^{key}: (.*)$", text, re.M)[1].split() for key in ("Cflags", "Libs")]
    (tmp_path / "p.c").write_text(PROGRAM)
    subprocess.run(["cc", *flags[0], "p.c", "-o", "p", *flags[1]], check=True, cwd=tmp_path)
    assert subprocess.check_output([tmp_path / "p"], text=True).strip() == pp.__version__


def test_a_program_is_built_with_cmake(tmp_path: Path) -> None:
    (tmp_path / "p.c").write_text(PROGRAM)
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.18)\nproject(p C)\nfind_package(powerprobe 0.1 REQUIRED CONFIG)\n"
        "add_executable(p p.c)\ntarget_link_libraries(p powerprobe::powerprobe)\n"
    )
    cmake = ["cmake", "-S", ".", "-B", "build", f"-Dpowerprobe_DIR={pp.get_cmake_dir()}"]
    subprocess.run(cmake, check=True, cwd=tmp_path, capture_output=True)
    subprocess.run(["cmake", "--build", "build"], check=True, cwd=tmp_path, capture_output=True)
    assert subprocess.check_output([tmp_path / "build/p"], text=True).strip() == pp.__version__

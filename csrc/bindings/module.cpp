// SPDX-License-Identifier: MIT
// Table of contents of the extension: one bind_*() per file.
#include "bindings/pybind.hpp"

PYBIND11_MODULE(_core, m, py::mod_gil_not_used()) { m.doc() = "The native half of powerprobe."; }

// SPDX-License-Identifier: MIT
// The prelude of every bindings file: the only place that names pybind11's headers.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

namespace py = pybind11;

namespace powerprobe::bindings {

void bind_errors(py::module_& m);
void bind_sources(py::module_& m);
void bind_probe(py::module_& m);
void bind_regions(py::module_& m);
void bind_replay(py::module_& m);
void bind_arithmetic(py::module_& m);
void bind_capi(py::module_& m);

}  // namespace powerprobe::bindings

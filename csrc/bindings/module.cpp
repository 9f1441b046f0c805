// SPDX-License-Identifier: MIT
// Table of contents of the extension. Nothing here keeps state of an interpreter, so it is safe without the GIL: what is shared
// between threads is guarded in the floors below.
#include "bindings/pybind.hpp"

PYBIND11_MODULE(_core, m, py::mod_gil_not_used()) {
  namespace bindings = powerprobe::bindings;
  m.doc() = "The native half of powerprobe; private.";
  m.attr("__version__") = POWERPROBE_VERSION;
  bindings::bind_errors(m);
  bindings::bind_sources(m);
  bindings::bind_replay(m);
  bindings::bind_probe(m);
  bindings::bind_regions(m);
  bindings::bind_arithmetic(m);
  bindings::bind_capi(m);
}

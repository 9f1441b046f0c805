// SPDX-License-Identifier: MIT
// The one place where the core's Error becomes a Python exception.
#include "bindings/pybind.hpp"
#include "core/error.hpp"

namespace powerprobe::bindings {
namespace {

// Keys of powerprobe.errors.BY_KIND.
const char* key(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kPermission:
      return "permission";
    case ErrorKind::kUnavailable:
      return "unavailable";
    case ErrorKind::kBadArgument:
      return "bad_argument";
    case ErrorKind::kOverrun:
      return "overrun";
    case ErrorKind::kOutOfRange:
      return "out_of_range";
    case ErrorKind::kTimeout:
      return "timeout";
    case ErrorKind::kGone:
      return "gone";
  }
  return "unavailable";
}

}  // namespace

void bind_errors(py::module_& m) {
  (void)m;
  py::register_exception_translator([](std::exception_ptr pointer) {
    try {
      std::rethrow_exception(pointer);
    } catch (const Error& error) {
      const py::object by_kind = py::module_::import("powerprobe.errors").attr("BY_KIND");
      const py::object type = by_kind[key(error.kind())];
      const py::object path = error.path().empty() ? py::object(py::none()) : py::object(py::str(error.path()));
      py::set_error(type, type(error.what(), path, error.error(), error.remedy()));
    }
  });
}

}  // namespace powerprobe::bindings

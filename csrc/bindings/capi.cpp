// SPDX-License-Identifier: MIT
// The C interface inside a Python process: a capsule with its functions, whose shared probe is that of powerprobe.measure().
#include "capi/shared.hpp"

#include <utility>

#include "bindings/pybind.hpp"
#include "core/error.hpp"

namespace powerprobe::bindings {
namespace {

ErrorKind kind_of(const std::string& exception) {
  if (exception == "PermissionDenied") return ErrorKind::kPermission;
  if (exception == "BadArgument") return ErrorKind::kBadArgument;
  return ErrorKind::kUnavailable;
}

// What was raised, as the core's error: the caller is C, and may have no Python frame at all.
Error error_of(const py::error_already_set& raised) {
  const py::object value = raised.value();
  if (!py::hasattr(value, "remedy")) return {ErrorKind::kUnavailable, raised.what()};
  const py::object path = value.attr("path");
  return {kind_of(py::str(py::type::of(value).attr("__name__"))), py::str(value.attr("message")),
          path.is_none() ? std::string() : std::string(py::str(path)), value.attr("errno").cast<int>(),
          py::str(value.attr("remedy"))};
}

std::shared_ptr<capi::Opened> open_pythons() {
  if (Py_IsInitialized() == 0) {
    throw Error(ErrorKind::kUnavailable, "the Python interpreter that the shared probe belongs to has ended");
  }
  const py::gil_scoped_acquire locked;
  try {
    const py::tuple shared = py::module_::import("powerprobe.default").attr("shared_native")();
    const auto names = shared[1].cast<std::vector<std::string>>();
    return std::make_shared<capi::Opened>(shared[0].cast<std::shared_ptr<Probe>>(), names);
  } catch (const py::error_already_set& raised) {
    throw error_of(raised);
  }
}

}  // namespace

void bind_capi(py::module_& m) {
  capi::set_shared_opener(&open_pythons);
  m.attr("_C_API") = py::capsule(static_cast<const void*>(&capi::api()), PP_CAPSULE);
}

}  // namespace powerprobe::bindings

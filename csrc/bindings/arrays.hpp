// SPDX-License-Identifier: MIT
// numpy arrays in and out of the core's spans.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "bindings/pybind.hpp"
#include "core/error.hpp"
#include "core/series.hpp"

namespace powerprobe::bindings {

using Int64Array = py::array_t<std::int64_t, py::array::c_style>;
using Float64Array = py::array_t<double, py::array::c_style>;

template <typename T, int kFlags>
std::span<const T> readable(const py::array_t<T, kFlags>& array, const char* name) {
  if (array.ndim() != 1) {
    throw Error(ErrorKind::kBadArgument, std::string(name) + " must be one-dimensional");
  }
  return {array.data(), static_cast<std::size_t>(array.size())};
}

inline void check_same_length(std::span<const std::int64_t> starts, std::span<const std::int64_t> ends) {
  if (starts.size() != ends.size()) {
    throw Error(ErrorKind::kBadArgument, "starts_ns and ends_ns must be of one length, not " +
                                             std::to_string(starts.size()) + " and " + std::to_string(ends.size()));
  }
}

// The three result arrays of `count` intervals.
struct EnergyArrays {
  explicit EnergyArrays(std::size_t count)
      : joules(static_cast<py::ssize_t>(count)), lower(static_cast<py::ssize_t>(count)), upper(static_cast<py::ssize_t>(count)) {}
  Energies spans() {
    const auto span = [](Float64Array& array) {
      return std::span<double>(array.mutable_data(), static_cast<std::size_t>(array.size()));
    };
    return {span(joules), span(lower), span(upper)};
  }
  py::tuple tuple() { return py::make_tuple(joules, lower, upper); }
  Float64Array joules, lower, upper;
};

}  // namespace powerprobe::bindings

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
using Uint32Array = py::array_t<std::uint32_t, py::array::c_style>;

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

// The four result arrays of `count` intervals, in one piece of memory: large pieces get large pages, which are had much faster.
struct EnergyArrays {
  explicit EnergyArrays(std::size_t count)
      : memory(static_cast<py::ssize_t>(3 * count + (count + 1) / 2)),
        joules(static_cast<py::ssize_t>(count), memory.mutable_data(), memory),
        lower(static_cast<py::ssize_t>(count), memory.mutable_data() + count, memory),
        upper(static_cast<py::ssize_t>(count), memory.mutable_data() + 2 * count, memory),
        flags(static_cast<py::ssize_t>(count), reinterpret_cast<std::uint32_t*>(memory.mutable_data() + 3 * count), memory) {}
  Energies spans() {
    const auto count = static_cast<std::size_t>(joules.size());
    return {{joules.mutable_data(), count}, {lower.mutable_data(), count}, {upper.mutable_data(), count},
            {flags.mutable_data(), count}};
  }
  py::tuple tuple() { return py::make_tuple(joules, lower, upper, flags); }
  Float64Array memory, joules, lower, upper;
  Uint32Array flags;
};

}  // namespace powerprobe::bindings

// SPDX-License-Identifier: MIT
// The core's pure arithmetic on data that the caller makes up, so that it can be tested against an exact truth.
#include "bindings/arrays.hpp"
#include "bindings/pybind.hpp"
#include "core/stamp.hpp"
#include "core/unwrap.hpp"

namespace powerprobe::bindings {
namespace {

const char* text(Step step) {
  switch (step) {
    case Step::kFirst:
      return "first";
    case Step::kStill:
      return "still";
    case Step::kPlain:
      return "plain";
    case Step::kWrapped:
      return "wrapped";
    case Step::kReset:
      break;
  }
  return "reset";
}

py::tuple series_energies(const py::array_t<Edge, py::array::c_style>& edges_array, double quantum, double low_watts,
                          double high_watts, double max_watts, const Int64Array& starts_ns, const Int64Array& ends_ns,
                          const py::array_t<Edge, py::array::c_style>& guide_array, double spill_joules, double blind_joules,
                          std::int64_t period_ns) {
  const auto edges = readable(edges_array, "edges");
  const auto guide = readable(guide_array, "guide");
  const auto starts = readable(starts_ns, "starts_ns");
  const auto ends = readable(ends_ns, "ends_ns");
  check_same_length(starts, ends);
  const IntervalsRange range = intervals_range(starts, ends);
  EnergyArrays arrays(starts.size());
  if (starts.empty()) return arrays.tuple();
  if (range.backwards >= 0 || edges.empty() || range.first_ns < first_answerable_ns(edges) ||
      range.last_ns > last_answerable_ns(edges)) {
    throw Error(ErrorKind::kBadArgument, "these edges cannot answer all of these intervals");
  }
  const EnergyModel model{quantum, low_watts, high_watts, max_watts, spill_joules, blind_joules, period_ns};
  energies_between(edges, model, starts, ends, range.sorted, arrays.spans(), true, guide);
  return arrays.tuple();
}

py::list unwrap(std::uint64_t modulus, double joules_per_count, double max_watts, std::int64_t stale_ns,
                const std::vector<std::uint64_t>& raws, const std::vector<std::int64_t>& times_ns) {
  Unwrapper unwrapper(modulus, joules_per_count, max_watts, stale_ns);
  py::list result;
  for (std::size_t i = 0; i < raws.size(); ++i) {
    const Step step = unwrapper.feed(raws[i], times_ns.at(i));
    result.append(py::make_tuple(text(step), unwrapper.total(), unwrapper.ambiguous()));
  }
  return result;
}

py::list stamps(double tick_ns, std::uint64_t modulus,
                const std::vector<std::tuple<std::uint64_t, std::int64_t, std::int64_t>>& observations) {
  StampMap map(tick_ns, modulus);
  py::list result;
  for (const auto& [stamp, after_ns, before_ns] : observations) {
    const StampMap::Located located = map.locate(stamp, after_ns, before_ns);
    result.append(py::make_tuple(located.t_ns, located.gap_ns));
  }
  return result;
}

}  // namespace

void bind_arithmetic(py::module_& m) {
  m.def("_series_energies", &series_energies, py::arg("edges"), py::arg("quantum"), py::arg("low_watts"),
        py::arg("high_watts"), py::arg("max_watts"), py::arg("starts_ns"), py::arg("ends_ns"),
        py::arg("guide") = py::array_t<Edge, py::array::c_style>(), py::arg("spill_joules") = 0.0, py::arg("blind_joules") = 0.0,
        py::arg("period_ns") = 0);
  m.def("_unwrap", &unwrap, py::arg("modulus"), py::arg("joules_per_count"), py::arg("max_watts"), py::arg("stale_ns"),
        py::arg("raws"), py::arg("times_ns"));
  m.def("_stamps", &stamps, py::arg("tick_ns"), py::arg("modulus"), py::arg("observations"));
}

}  // namespace powerprobe::bindings

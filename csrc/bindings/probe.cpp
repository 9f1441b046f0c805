// SPDX-License-Identifier: MIT
// The probe, its marks and its views. Whatever waits does so without the GIL.
#include "core/probe.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "bindings/arrays.hpp"
#include "bindings/gil.hpp"
#include "bindings/pybind.hpp"
#include "bindings/sources.hpp"
#include "core/clock.hpp"
#include "sources/domains.hpp"

namespace powerprobe::bindings {
namespace {

// A pinned run of edges as Python holds it: a read-only buffer, so that numpy cannot be talked into writing.
using PyLease = Lease;

std::int64_t deadline_after(double seconds) {
  constexpr double kLongest = 1e9;  // thirty years; keeps the sum below 2^63
  return now_ns() + static_cast<std::int64_t>(std::min(std::max(seconds, 0.0), kLongest) * 1e9);
}

const char* reason(MarkState state) {
  switch (state) {
    case MarkState::kKnown:
      return "";
    case MarkState::kOutside:
      return "the instant lies before the first reading";
    case MarkState::kGone:
      return "the channel ended before";
    case MarkState::kPending:
    case MarkState::kUnsettled:
      break;
  }
  return "no edge came in time";
}

const char* text(ReadStatus health) {
  switch (health) {
    case ReadStatus::kOk:
    case ReadStatus::kNoNews:
      return "ok";
    case ReadStatus::kRetry:
      return "retrying";
    case ReadStatus::kGone:
      return "gone";
    case ReadStatus::kFatal:
      break;
  }
  return "fatal";
}

void check_channel(const Probe& probe, std::size_t channel) {
  if (channel >= probe.channels().size()) throw py::index_error("no such channel");
}

void check_channels(const Mark& mark, const std::vector<std::size_t>& channels) {
  for (const std::size_t channel : channels) {
    if (channel >= mark.channels()) throw py::index_error("no such channel");
  }
}

py::list between(const Probe& probe, const Mark& start, const Mark& end, const std::vector<std::size_t>& channels) {
  py::list result;
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  for (const std::size_t i : channels) {
    check_channel(probe, i);
    if (!start.is_done(i) || !end.is_done(i)) {
      throw Error(ErrorKind::kTimeout, probe.channels()[i].name + ": the edges around this interval have not come yet");
    }
    auto [state, energy] = probe.between(i, start, end);
    std::string why = reason(state);
    if (state != MarkState::kKnown) {
      energy = {kNan, kNan, kNan, 0};
      if (const std::string trouble = probe.trouble(i); !trouble.empty()) why += ": " + trouble;
    }
    result.append(py::make_tuple(why, energy.joules, energy.lower, energy.upper, energy.flags));
  }
  return result;
}

py::array view(const Probe& probe, std::size_t channel, std::int64_t count) {
  check_channel(probe, channel);
  // The dtype is looked up once: pybind11's own look-up costs more than the rest of a view.
  PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<py::dtype> storage;
  const py::dtype& dtype = storage.call_once_and_store_result([] { return py::dtype::of<Edge>(); }).get_stored();
  const std::uint64_t wanted = count < 0 ? std::numeric_limits<std::uint64_t>::max() : static_cast<std::uint64_t>(count);
  auto* const lease = new PyLease(probe.lease_newest(channel, wanted));
  const auto edges = lease->edges();
  const py::object owner = py::cast(lease, py::return_value_policy::take_ownership);
  py::array array(dtype, {edges.size()}, {sizeof(Edge)}, edges.data(), owner);
  py::detail::array_proxy(array.ptr())->flags &= ~py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
  return array;
}

Mode mode_of(const std::string& name) {
  if (name == "track") return Mode::kTrack;
  if (name == "poll") return Mode::kPoll;
  if (name == "spin") return Mode::kSpin;
  throw Error(ErrorKind::kBadArgument, "mode must be 'track', 'poll' or 'spin', not '" + name + "'");
}

py::dict stats(const ChannelStats& stats, const PaceStats& pace) {
  py::dict result;
  result["caught"] = pace.caught;
  result["spaced"] = pace.spaced;
  result["late"] = pace.late;
  result["skipped"] = pace.skipped;
  result["period_ns"] = pace.period_ns;
  result["spread_ns"] = pace.spread_ns;
  result["guard_ns"] = pace.guard_ns;
  result["edges"] = stats.edges;
  result["dropped"] = stats.dropped;
  result["wraps"] = stats.wraps;
  result["resets"] = stats.resets;
  result["retries"] = stats.retries;
  result["health"] = text(stats.health);
  result["error"] = stats.error;
  result["ended_ns"] = stats.ended_ns == INT64_MAX ? py::object(py::none()) : py::object(py::int_(stats.ended_ns));
  return result;
}

// What a measurement notes at its two ends: sums over these channels, and over all samplers.
py::dict usage(const Probe& probe, const std::vector<std::size_t>& channels) {
  ChannelStats sum;
  std::uint64_t late = 0;
  for (const std::size_t channel : channels) {
    check_channel(probe, channel);
    const ChannelStats stats = probe.channel_stats(channel);
    sum.dropped += stats.dropped;
    sum.retries += stats.retries;
    sum.resets += stats.resets;
    sum.wraps += stats.wraps;
    late += probe.pace_stats(channel).late;
  }
  std::uint64_t missed_ticks = 0;
  std::int64_t cpu_ns = 0;
  for (std::size_t sampler = 0; sampler < probe.sampler_count(); ++sampler) {
    const SamplerStats stats = probe.sampler_stats(sampler);
    missed_ticks += stats.missed_ticks;
    cpu_ns += stats.cpu_ns;
  }
  py::dict result;
  result["dropped"] = sum.dropped;
  result["late"] = late;
  result["missed_ticks"] = missed_ticks;
  result["resets"] = sum.resets;
  result["retries"] = sum.retries;
  result["wraps"] = sum.wraps;
  result["cpu_seconds"] = static_cast<double>(cpu_ns) * 1e-9;
  return result;
}

py::list sampler_stats(const Probe& probe) {
  py::list result;
  for (std::size_t sampler = 0; sampler < probe.sampler_count(); ++sampler) {
    const SamplerStats stats = probe.sampler_stats(sampler);
    py::list channels;
    for (std::size_t i = 0; i < probe.channels().size(); ++i) {
      if (probe.sampler_of(i) == sampler) channels.append(probe.channels()[i].name);
    }
    py::dict entry;
    entry["channels"] = channels;
    entry["polls"] = stats.polls;
    entry["missed_ticks"] = stats.missed_ticks;
    entry["cpu_seconds"] = static_cast<double>(stats.cpu_ns) * 1e-9;
    entry["wakeup_ns"] = stats.wakeup_ns;
    entry["read_ns"] = stats.read_ns;
    result.append(entry);
  }
  return result;
}

std::shared_ptr<Probe> make_probe(const py::sequence& opened, const std::string& mode, std::int64_t period_ns,
                                  std::size_t capacity, double budget, bool realtime, bool lock_memory) {
  if (period_ns < 1) throw Error(ErrorKind::kBadArgument, "period_ns must be at least 1");
  if (!(budget > 0.0 && budget <= 1.0)) throw Error(ErrorKind::kBadArgument, "budget must be above 0 and at most 1");
  const SamplerOptions options{mode_of(mode), period_ns, capacity, budget, realtime, lock_memory};
  std::vector<std::unique_ptr<Source>> sources;
  for (const py::handle& source : opened) {
    sources.push_back(source.cast<OpenedSource&>().take());
    if (!sources.back()) {
      throw Error(ErrorKind::kBadArgument, "sources: one of them already belongs to a probe; open another");
    }
  }
  const WithoutGil unlocked;
  return std::make_shared<Probe>(std::move(sources), options);
}

}  // namespace

void bind_probe(py::module_& m) {
  PYBIND11_NUMPY_DTYPE(Edge, t_ns, joules, gap_ns, read_ns, flags, segment);
  m.attr("EDGE_DTYPE") = py::dtype::of<Edge>();
  py::dict flags;
  flags["first"] = static_cast<std::uint32_t>(kEdgeFirst);
  flags["quiet"] = static_cast<std::uint32_t>(kEdgeQuiet);
  flags["wrapped"] = static_cast<std::uint32_t>(kEdgeWrapped);
  flags["reset"] = static_cast<std::uint32_t>(kEdgeReset);
  flags["ambiguous"] = static_cast<std::uint32_t>(kEdgeAmbiguous);
  flags["after_retry"] = static_cast<std::uint32_t>(kEdgeAfterRetry);
  flags["late"] = static_cast<std::uint32_t>(kEdgeLate);
  flags["stamped"] = static_cast<std::uint32_t>(kEdgeStamped);
  flags["dropped"] = static_cast<std::uint32_t>(kEdgeDropped);
  flags["filtered"] = static_cast<std::uint32_t>(kEdgeFiltered);
  flags["estimated"] = static_cast<std::uint32_t>(kEdgeEstimated);
  m.attr("EDGE_FLAGS") = flags;
  m.def("now_ns", &now_ns);
  m.def("live_rings", &Ring::live_rings);
  m.def("live_leases", &Ring::live_leases);

  py::class_<PyLease>(m, "Lease", py::buffer_protocol())
      .def("__len__", [](const PyLease& lease) { return lease.edges().size(); })
      .def_buffer([](const PyLease& lease) {
        const auto edges = lease.edges();
        return py::buffer_info(const_cast<Edge*>(edges.data()), sizeof(Edge), py::format_descriptor<Edge>::format(), 1,
                               {edges.size()}, {sizeof(Edge)}, /*readonly=*/true);
      });

  py::class_<Mark, std::shared_ptr<Mark>>(m, "Mark")
      .def_property_readonly("t_ns", &Mark::t_ns)
      .def("is_done", [](const Mark& mark, const std::vector<std::size_t>& channels) {
        check_channels(mark, channels);
        return std::all_of(channels.begin(), channels.end(), [&](std::size_t channel) { return mark.is_done(channel); });
      }, py::arg("channels"))
      .def("wait", [](const Mark& mark, double timeout, const std::vector<std::size_t>& channels) {
        check_channels(mark, channels);
        const std::int64_t deadline = deadline_after(timeout);
        const WithoutGil unlocked;
        return mark.wait_until(deadline, channels);
      }, py::arg("timeout"), py::arg("channels"));

  py::class_<Probe, std::shared_ptr<Probe>>(m, "Probe")  // C code in this process may have it, too
      .def(py::init(&make_probe), py::arg("sources"), py::arg("mode"), py::arg("period_ns"), py::arg("capacity"),
           py::arg("budget") = SamplerOptions{}.budget, py::arg("realtime") = false, py::arg("lock_memory") = false)
      .def_property_readonly("channels", [](const Probe& probe) {
        std::vector<ChannelInfo> channels = probe.channels();
        nest(channels);
        return channels;
      })
      .def_property_readonly("running", &Probe::is_running)
      .def("heir", [](const Probe& probe) { return std::shared_ptr<Probe>(probe.heir()); }, py::keep_alive<0, 1>())
      .def_property_readonly("orphan", &Probe::is_orphan)
      .def("start", &Probe::start)
      .def("stop", &Probe::stop, py::call_guard<WithoutGil>())
      .def("ask", &Probe::ask)
      .def("ask_until", &Probe::ask_until, py::arg("t_ns"))
      .def("watch", &Probe::watch, py::arg("since_ns"))
      .def("unwatch", &Probe::unwatch)
      .def("wait_in_step", [](Probe& probe, double timeout) {
        const std::int64_t deadline = deadline_after(timeout);
        const WithoutGil unlocked;
        probe.wait_in_step(deadline);
      }, py::arg("timeout"))
      .def("set_mode", [](Probe& probe, const std::string& mode, std::int64_t period_ns) {
        probe.set_mode(mode_of(mode), period_ns);
      }, py::arg("mode"), py::arg("period_ns"))
      .def("release", &Probe::release)
      .def("mark", [](Probe& probe, std::optional<std::int64_t> t_ns) {
        return std::const_pointer_cast<Mark>(probe.mark(t_ns ? *t_ns : now_ns()));
      }, py::arg("t_ns") = py::none())
      .def("between", &between, py::arg("start"), py::arg("end"), py::arg("channels"))
      .def("energy_until", [](const Probe& probe, std::size_t channel, const Mark& start, std::int64_t end_ns) {
        check_channel(probe, channel);
        const Energy energy = probe.energy_until(channel, start, end_ns);
        return py::make_tuple(energy.joules, energy.lower, energy.upper, energy.flags);
      }, py::arg("channel"), py::arg("start"), py::arg("end_ns"))
      .def("energies", [](const Probe& probe, std::size_t channel, const Int64Array& starts_ns, const Int64Array& ends_ns,
                         bool unsettled) {
        check_channel(probe, channel);
        const auto starts = readable(starts_ns, "starts_ns");
        const auto ends = readable(ends_ns, "ends_ns");
        check_same_length(starts, ends);
        EnergyArrays arrays(starts.size());
        {
          const Energies spans = arrays.spans();
          const WithoutGil unlocked;
          probe.energies(channel, starts, ends, spans, unsettled);
        }
        return arrays.tuple();
      }, py::arg("channel"), py::arg("starts_ns"), py::arg("ends_ns"), py::arg("unsettled") = false)
      .def("known_until", [](const Probe& probe, std::size_t channel) {
        check_channel(probe, channel);
        return probe.known_until_ns(channel);
      }, py::arg("channel"))
      .def("view", &view, py::arg("channel"), py::arg("count") = -1)
      .def("channel_stats", [](const Probe& probe, std::size_t channel) {
        check_channel(probe, channel);
        return stats(probe.channel_stats(channel), probe.pace_stats(channel));
      }, py::arg("channel"))
      .def("usage", &usage, py::arg("channels"))
      .def("sampler_stats", &sampler_stats);
}

}  // namespace powerprobe::bindings

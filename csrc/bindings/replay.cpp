// SPDX-License-Identifier: MIT
// Scripts as Python writes them, dicts of plain values, to the scripted source. The keys are the names of the C++ members.
#include "sources/replay.hpp"

#include <functional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "bindings/pybind.hpp"
#include "bindings/sources.hpp"
#include "core/error.hpp"

namespace powerprobe::bindings {
namespace {

template <typename Target>
using Keys = std::unordered_map<std::string, std::function<void(Target&, const py::handle&)>>;

// Sets what the dict has; Error for a key that does not exist, TypeError for a value of a wrong type.
template <typename Target>
void read(const Keys<Target>& keys, const std::string& argument, const py::dict& dict, Target& target) {
  for (const std::pair<py::handle, py::handle> item : dict) {
    const py::handle value = item.second;
    const std::string name = py::str(item.first);
    const auto entry = keys.find(name);
    if (entry == keys.end()) throw Error(ErrorKind::kBadArgument, argument + ": there is no key '" + name + "'");
    try {
      entry->second(target, value);
    } catch (const py::cast_error&) {
      throw py::type_error(argument + ": '" + name + "' cannot be " + std::string(py::repr(value)));
    }
  }
}

template <typename T>
void assign(T& member, const py::handle& value) {
  member = value.cast<T>();
}

Provenance provenance(const std::string& text) {
  if (text == "measured") return Provenance::kMeasured;
  if (text == "integrated") return Provenance::kIntegrated;
  if (text == "estimated") return Provenance::kEstimated;
  throw Error(ErrorKind::kBadArgument, "channels: provenance is measured, integrated or estimated, not '" + text + "'");
}

ReadStatus status(const std::string& text) {
  if (text == "ok") return ReadStatus::kOk;
  if (text == "retry") return ReadStatus::kRetry;
  if (text == "gone") return ReadStatus::kGone;
  if (text == "fatal") return ReadStatus::kFatal;
  throw Error(ErrorKind::kBadArgument, "faults: status is ok, retry, gone or fatal, not '" + text + "'");
}

ReplayStep step(const py::handle& value) {
  const auto parts = value.cast<std::vector<py::object>>();
  if (parts.size() != 2 && parts.size() != 3) {
    throw Error(ErrorKind::kBadArgument, "channels: a step is (time_ns, count) or (time_ns, count, stamp)");
  }
  return {parts[0].cast<std::int64_t>(), parts[1].cast<std::uint64_t>(),
          parts.size() == 3 ? parts[2].cast<std::uint64_t>() : 0};
}

using Channel = ReplayChannel;
using Fault = ReplayFault;

const Keys<Channel>& channel_keys() {
  static const Keys<Channel> kKeys = {
      {"name", [](Channel& c, const py::handle& v) { assign(c.info.name, v); }},
      {"source", [](Channel& c, const py::handle& v) { assign(c.info.source, v); }},
      {"domain", [](Channel& c, const py::handle& v) { assign(c.info.domain, v); }},
      {"path", [](Channel& c, const py::handle& v) { assign(c.info.path, v); }},
      {"package", [](Channel& c, const py::handle& v) { assign(c.info.package, v); }},
      {"die", [](Channel& c, const py::handle& v) { assign(c.info.die, v); }},
      {"core", [](Channel& c, const py::handle& v) { assign(c.info.core, v); }},
      {"provenance", [](Channel& c, const py::handle& v) { c.info.provenance = provenance(v.cast<std::string>()); }},
      {"joules_per_count", [](Channel& c, const py::handle& v) { assign(c.info.joules_per_count, v); }},
      {"quantum_joules", [](Channel& c, const py::handle& v) { assign(c.info.quantum_joules, v); }},
      {"modulus", [](Channel& c, const py::handle& v) { assign(c.info.modulus, v); }},
      {"update_period_ns", [](Channel& c, const py::handle& v) { assign(c.info.update_period_ns, v); }},
      {"stale_ns", [](Channel& c, const py::handle& v) { assign(c.info.stale_ns, v); }},
      {"max_watts", [](Channel& c, const py::handle& v) { assign(c.info.max_watts, v); }},
      {"stamp_tick_ns", [](Channel& c, const py::handle& v) { assign(c.info.stamp_tick_ns, v); }},
      {"stamp_modulus", [](Channel& c, const py::handle& v) { assign(c.info.stamp_modulus, v); }},
      {"cpu", [](Channel& c, const py::handle& v) { assign(c.info.cpu, v); }},
      {"gpu", [](Channel& c, const py::handle& v) { assign(c.info.gpu, v); }},
      {"reading", [](Channel& c, const py::handle& v) { assign(c.info.reading, v); }},
      {"guide", [](Channel& c, const py::handle& v) { assign(c.info.guide, v); }},
      {"least_pause_ns", [](Channel& c, const py::handle& v) { assign(c.info.least_pause_ns, v); }},
      {"window_ns", [](Channel& c, const py::handle& v) { assign(c.info.window_ns, v); }},
      {"spill_joules", [](Channel& c, const py::handle& v) { assign(c.info.spill_joules, v); }},
      {"blind_joules", [](Channel& c, const py::handle& v) { assign(c.info.blind_joules, v); }},
      {"uuid", [](Channel& c, const py::handle& v) { assign(c.info.uuid, v); }},
      {"pci", [](Channel& c, const py::handle& v) { assign(c.info.pci, v); }},
      {"model", [](Channel& c, const py::handle& v) { assign(c.info.model, v); }},
      {"instances", [](Channel& c, const py::handle& v) { assign(c.info.instances, v); }},
      {"speed", [](Channel& c, const py::handle& v) { assign(c.info.speed, v); }},
      {"low_watts", [](Channel& c, const py::handle& v) { assign(c.info.low_watts, v); }},
      {"high_watts", [](Channel& c, const py::handle& v) { assign(c.info.high_watts, v); }},
      {"formula", [](Channel& c, const py::handle& v) { assign(c.info.formula, v); }},
      {"steps", [](Channel& c, const py::handle& v) {
         for (const py::handle& one : v.cast<py::iterable>()) c.steps.push_back(step(one));
       }},
  };
  return kKeys;
}

const Keys<Fault>& fault_keys() {
  static const Keys<Fault> kKeys = {
      {"begin_ns", [](Fault& f, const py::handle& v) { assign(f.begin_ns, v); }},
      {"end_ns", [](Fault& f, const py::handle& v) { assign(f.end_ns, v); }},
      {"channel", [](Fault& f, const py::handle& v) { assign(f.channel, v); }},
      {"status", [](Fault& f, const py::handle& v) { f.status = status(v.cast<std::string>()); }},
      {"error", [](Fault& f, const py::handle& v) { assign(f.error, v); }},
      {"sleep_ns", [](Fault& f, const py::handle& v) { assign(f.sleep_ns, v); }},
  };
  return kKeys;
}

std::unique_ptr<OpenedSource> replay(const std::vector<py::dict>& channel_dicts, const std::vector<py::dict>& fault_dicts,
                                     double rate, bool stepped, std::int64_t start_ns) {
  std::vector<ReplayChannel> channels(channel_dicts.size());
  for (std::size_t i = 0; i < channels.size(); ++i) read(channel_keys(), "channels", channel_dicts[i], channels[i]);
  std::vector<ReplayFault> faults(fault_dicts.size());
  for (std::size_t i = 0; i < faults.size(); ++i) read(fault_keys(), "faults", fault_dicts[i], faults[i]);
  return std::make_unique<OpenedSource>(
      std::make_unique<Replay>(std::move(channels), faults, ReplayOptions{rate, start_ns, stepped}));
}

}  // namespace

void bind_replay(py::module_& m) {
  m.def("replay", &replay, py::arg("channels"), py::arg("faults") = py::tuple(), py::arg("rate") = 1.0,
        py::arg("stepped") = false, py::arg("start_ns") = 0);
}

}  // namespace powerprobe::bindings

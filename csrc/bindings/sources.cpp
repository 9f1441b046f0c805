// SPDX-License-Identifier: MIT
// Channels, refusals, surveys and opened sources.
#include "bindings/sources.hpp"

#include "bindings/gil.hpp"
#include "core/series.hpp"
#include "sources/cpu_model.hpp"
#include "sources/cpu_model_data.hpp"
#include "sources/cpuinfo.hpp"
#include "sources/survey.hpp"

namespace powerprobe::bindings {
namespace {

const char* text(Provenance provenance) {
  switch (provenance) {
    case Provenance::kMeasured:
      return "measured";
    case Provenance::kIntegrated:
      return "integrated";
    case Provenance::kEstimated:
      break;
  }
  return "estimated";
}

void bind_channel(py::module_& m) {
  py::class_<ChannelInfo>(m, "ChannelInfo")
      .def_readonly("name", &ChannelInfo::name)
      .def_readonly("source", &ChannelInfo::source)
      .def_readonly("domain", &ChannelInfo::domain)
      .def_readonly("path", &ChannelInfo::path)
      .def_readonly("package", &ChannelInfo::package)
      .def_readonly("die", &ChannelInfo::die)
      .def_readonly("core", &ChannelInfo::core)
      .def_readonly("gpu", &ChannelInfo::gpu)
      .def_readonly("reading", &ChannelInfo::reading)
      .def_readonly("parent", &ChannelInfo::parent)
      .def_property_readonly("provenance", [](const ChannelInfo& c) { return text(c.provenance); })
      .def_readonly("joules_per_count", &ChannelInfo::joules_per_count)
      .def_property_readonly("quantum_joules", [](const ChannelInfo& c) { return EnergyModel::of(c).quantum_joules; })
      .def_readonly("modulus", &ChannelInfo::modulus)
      .def_readonly("update_period_ns", &ChannelInfo::update_period_ns)
      .def_readonly("stale_ns", &ChannelInfo::stale_ns)
      .def_readonly("max_watts", &ChannelInfo::max_watts)
      .def_property_readonly("stamped", [](const ChannelInfo& c) { return c.stamp_tick_ns > 0.0; })
      .def_readonly("filtered", &ChannelInfo::filtered)
      .def_readonly("cpu", &ChannelInfo::cpu)
      .def_readonly("window_ns", &ChannelInfo::window_ns)
      .def_readonly("spill_joules", &ChannelInfo::spill_joules)
      .def_readonly("blind_joules", &ChannelInfo::blind_joules)
      .def_readonly("uuid", &ChannelInfo::uuid)
      .def_readonly("pci", &ChannelInfo::pci)
      .def_readonly("model", &ChannelInfo::model)
      .def_readonly("instances", &ChannelInfo::instances)
      .def_readonly("speed", &ChannelInfo::speed)
      .def_readonly("low_watts", &ChannelInfo::low_watts)
      .def_readonly("high_watts", &ChannelInfo::high_watts)
      .def_readonly("formula", &ChannelInfo::formula)
      .def("__repr__", [](const ChannelInfo& c) { return "<ChannelInfo " + c.name + " from " + c.source + ">"; });
}

}  // namespace

void bind_sources(py::module_& m) {
  bind_channel(m);
  py::class_<Refusal>(m, "Refusal")
      .def_readonly("source", &Refusal::source)
      .def_readonly("path", &Refusal::path)
      .def_readonly("reason", &Refusal::reason)
      .def_readonly("remedy", &Refusal::remedy)
      .def_readonly("error", &Refusal::error)
      .def("__repr__", [](const Refusal& r) { return "<Refusal " + r.source + ": " + r.reason + ">"; });
  py::class_<Choice>(m, "Choice")
      .def_readonly("channel", &Choice::channel)
      .def_readonly("read_ns", &Choice::read_ns)
      .def_readonly("seen_period_ns", &Choice::seen_period_ns)
      .def_readonly("others", &Choice::others)
      .def_readonly("disagreement", &Choice::disagreement);
  py::class_<Survey>(m, "Survey").def_readonly("choices", &Survey::choices).def_readonly("refusals", &Survey::refusals);

  std::vector<std::string> names(counter_sources().begin(), counter_sources().end());
  names.push_back(estimate_source());
  m.attr("SOURCES") = py::tuple(py::cast(names));
  m.def(
      "survey",
      [](const std::vector<std::string>& sources, bool estimate, const std::filesystem::path& sys,
         const std::filesystem::path& dev, const std::filesystem::path& proc, const std::string& nvml) {
        const WithoutGil unlocked;
        return survey({sys, dev, proc, nvml}, sources, estimate);
      },
      py::arg("sources"), py::arg("estimate"), py::arg("sys") = "/sys", py::arg("dev") = "/dev", py::arg("proc") = "/proc",
      py::arg("nvml") = Roots{}.nvml);

  py::class_<OpenedSource>(m, "Source").def_property_readonly("channels", &OpenedSource::channels);
  m.def(
      "open_sources",
      [](const Survey& chosen, const std::vector<std::string>& channels) {
        std::vector<std::unique_ptr<Source>> sources;
        {
          const WithoutGil unlocked;
          sources = open_sources(chosen, channels);
        }
        py::list opened;
        for (auto& source : sources) opened.append(std::make_unique<OpenedSource>(std::move(source)));
        return opened;
      },
      py::arg("survey"), py::arg("names"));

  m.def(
      "command_energy",
      [](double cpu_seconds, const std::filesystem::path& proc) {
        const CommandEnergy energy = command_energy(cpu_coefficients(read_cpuinfo(proc)), cpu_seconds);
        return py::make_tuple(energy.joules, energy.lower, energy.upper);
      },
      py::arg("cpu_seconds"), py::arg("proc") = "/proc");
}

}  // namespace powerprobe::bindings

// SPDX-License-Identifier: MIT
#include "sources/rapl_perf.hpp"

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "core/clock.hpp"
#include "sources/cpuinfo.hpp"
#include "sources/domains.hpp"
#include "sources/perf_denied.hpp"
#include "sources/perf_pmu.hpp"
#include "sources/rapl_unit.hpp"
#include "sources/sysfs.hpp"
#include "sources/topology.hpp"

namespace powerprobe {
namespace {

constexpr const char* kSource = "rapl_perf";

// RAPL moves about once a millisecond; 3.2 ms is the longest period seen (Sapphire Rapids with the energy filter).
// Nothing is published about psys.
constexpr std::int64_t kUpdatePeriodNs = 1'000'000;
constexpr std::int64_t kStaleNs = 20'000'000;
constexpr std::int64_t kPsysStaleNs = 100'000'000;
constexpr double kMaxWatts = 10'000.0;
// The coarsest unit of a domain that perf shows and that did not tell its own: 2^-14 J. (psys may have 1 J, but it
// moved.)
constexpr double kCoarsestUnit = 1.0 / (1 << 14);

// How long the counters are watched while opening, and how often.
constexpr std::int64_t kWatchNs = 25'000'000;
constexpr auto kWatchPause = std::chrono::microseconds(500);

// perf's names (arch/x86/events/rapl.c, drivers/powercap/intel_rapl_common.c) and ours.
struct Domain {
  std::string_view event;
  const char* domain;
};
constexpr Domain kPowerDomains[] = {{"energy-pkg", "package"},
                                    {"energy-cores", "core"},
                                    {"energy-gpu", "uncore"},
                                    {"energy-ram", "dram"},
                                    {"energy-psys", "psys"}};
constexpr Domain kPowerCoreDomains[] = {{"energy-core", "core"}};

// A channel that could be: described and wanted, then watched, then opened.
struct Candidate {
  ChannelInfo info;
  PerfEvent event;
  std::pair<int, int> place;  // package and die: what one source reads
  RaplUnit unit;
};

struct Machine {
  CpuIdentity identity;
  std::vector<Cpu> cpus;
};

// What one PMU brought: the same reason is told once and not for each of a hundred cores.
class Refusals {
 public:
  explicit Refusals(Found& found) : found_(found), first_(found.refusals.size()) {}

  void add(Refusal refusal) {
    const auto begin = found_.refusals.begin() + static_cast<std::ptrdiff_t>(first_);
    const bool known = std::any_of(begin, found_.refusals.end(), [&](const Refusal& other) {
      return other.reason == refusal.reason && other.error == refusal.error;
    });
    if (!known) found_.refusals.push_back(std::move(refusal));
  }

 private:
  Found& found_;
  std::size_t first_;
};

Refusal no_pmu(const std::filesystem::path& folder, const Machine& machine) {
  std::error_code ignored;
  if (!std::filesystem::exists(folder.parent_path(), ignored)) {
    return {kSource, folder.parent_path().string(),
            "the kernel shows no perf events here: /sys is not mounted, or the kernel was built without them", "", 0};
  }
  if (machine.identity.hypervisor) {
    return {kSource, folder.string(),
            "this is a virtual machine, KVM answers RAPL reads with 0, and so the kernel has no PMU for them",
            "measure on the host, or have QEMU 9.1 or newer pass the host's counters on (-accel kvm,rapl=true)", 0};
  }
  if (!machine.identity.is_intel() && !machine.identity.is_amd()) {
    return {kSource, folder.string(), "no such PMU, only processors of Intel, AMD and Hygon have RAPL counters", "", 0};
  }
  return {kSource, folder.string(), "no such PMU, its kernel module is not loaded, or does not know this CPU",
          "sudo modprobe rapl (servers since Granite Rapids: sudo modprobe intel_rapl_tpmi)", 0};
}

Refusal no_events(const Pmu& pmu, const Machine& machine) {
  std::string reason = "the PMU has no events: every RAPL register read 0 when the driver was loaded";
  if (machine.identity.hypervisor) reason += " (this is a virtual machine; KVM answers RAPL reads with 0)";
  return {kSource, (pmu.folder / "events").string(), std::move(reason),
          machine.identity.hypervisor ? "measure on the host" : "", 0};
}

// The CPUs that the PMU's events are opened on, one per counter.
std::vector<Cpu> readers_of(const Pmu& pmu, const Machine& machine, Refusals& refusals) {
  std::vector<Cpu> readers;
  for (const int number : pmu.cpus) {
    const auto cpu =
        std::find_if(machine.cpus.begin(), machine.cpus.end(), [&](const Cpu& c) { return c.cpu == number; });
    if (cpu == machine.cpus.end()) {
      refusals.add({kSource, (pmu.folder / "cpumask").string(),
                    "names CPU " + std::to_string(number) + ", which is not among the CPUs online", "", 0});
      continue;
    }
    readers.push_back(*cpu);
  }
  return readers;
}

// Core ids may repeat inside a package: some kernels count them per die, or per core complex. Then the die is named
// too, or else the CPU that is read stands for the core.
void tell_apart(ChannelInfo& info, const Cpu& cpu, const std::set<std::string>& names) {
  const auto is_taken = [&] { return names.count(info.name) != 0; };
  if (!is_taken()) return;
  info.die = cpu.die;
  info.name = channel_name(info.domain, info.package, info.die, info.core);
  if (!is_taken()) return;
  info.core = cpu.cpu;
  info.name = channel_name(info.domain, info.package, info.die, info.core);
}

// All channels of the PMU that somebody wants. Several candidates may be named "psys": choose_psys() leaves one.
std::vector<Candidate> describe(const Pmu& pmu, std::span<const Domain> domains, const Machine& machine,
                                const Wanted& wanted, Refusals& refusals) {
  const std::vector<Cpu> readers = readers_of(pmu, machine, refusals);
  // AMD has one counter per package whatever its dies; older kernels list it once per die.
  const bool per_die = !machine.identity.is_amd() && has_several_dies(readers);

  std::vector<Candidate> candidates;
  std::set<std::string> names;
  for (const std::string& name : pmu.events) {
    const auto domain = std::find_if(domains.begin(), domains.end(), [&](const Domain& d) { return d.event == name; });
    const auto file = (pmu.folder / "events" / name).string();
    if (domain == domains.end()) {
      refusals.add({kSource, file, "\"" + name + "\" is not an energy domain that is known here", "", 0});
      continue;
    }
    PmuEvent event;
    try {
      event = read_pmu_event(pmu, name);
    } catch (const Error& error) {
      refusals.add(refusal_from(kSource, error));
      continue;
    }
    if (event.unit != "Joules") {
      refusals.add(
          {kSource, file + ".unit", file + ".unit holds \"" + event.unit + "\" where Joules is expected", "", 0});
      continue;
    }
    const bool is_psys = name == "energy-psys";
    const bool is_core = name == "energy-core";
    for (const Cpu& cpu : readers) {
      ChannelInfo info;
      info.source = kSource;
      info.domain = domain->domain;
      info.path = pmu.name + "/" + name + "/ on CPU " + std::to_string(cpu.cpu);
      if (!is_psys) {
        info.package = cpu.package;
        if (per_die) info.die = cpu.die;
        if (is_core) info.core = cpu.core;
      }
      info.name = channel_name(info.domain, info.package, info.die, info.core);
      if (is_core) tell_apart(info, cpu, names);
      info.joules_per_count = event.scale;
      info.update_period_ns = kUpdatePeriodNs;
      info.stale_ns = is_psys ? kPsysStaleNs : kStaleNs;
      info.max_watts = kMaxWatts;
      info.cpu = cpu.cpu;
      // The same name again is the same counter seen from another CPU.
      if (!names.insert(info.name).second && !is_psys) continue;
      if (!wanted(info)) continue;
      candidates.push_back({info, {pmu.type, event.config, cpu.cpu}, {cpu.package, per_die ? cpu.die : -1}, {}});
    }
  }
  return candidates;
}

void refuse_event(const Candidate& candidate, int error, const Roots& roots, Refusals& refusals) {
  PerfDenial denial = explain_perf_error(error, roots.proc);
  refusals.add({kSource, candidate.info.path, std::move(denial.reason), std::move(denial.remedy), error});
}

bool goes_on(const std::vector<Candidate>& candidates, std::int64_t watched_ns) {
  if (watched_ns < kWatchNs) {
    return std::any_of(candidates.begin(), candidates.end(),
                       [](const Candidate& c) { return c.unit.moves() < RaplUnit::kManyMoves; });
  }
  // No psys that stands still is taken, so they get the time it may need to show that it lives.
  const auto is_psys = [](const Candidate& c) { return c.info.domain == "psys"; };
  return watched_ns < kPsysStaleNs && std::any_of(candidates.begin(), candidates.end(), is_psys) &&
         std::none_of(candidates.begin(), candidates.end(),
                      [&](const Candidate& c) { return is_psys(c) && c.unit.moves() > 0; });
}

// Opens all candidates for a moment and reads them until each moved often enough or the time is over. Candidates that
// cannot be opened are refused and leave the list.
void watch(std::vector<Candidate>& candidates, const Roots& roots, Refusals& refusals) {
  PerfEvents events;
  std::erase_if(candidates, [&](const Candidate& candidate) {
    const int error = events.add(candidate.event);
    if (error != 0) refuse_event(candidate, error, roots, refusals);
    return error != 0;
  });
  if (candidates.empty()) return;

  std::vector<Reading> readings(candidates.size());
  const std::int64_t start_ns = now_ns();
  do {
    std::this_thread::sleep_for(kWatchPause);
    events.read(readings);
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      if (readings[i].status == ReadStatus::kOk) candidates[i].unit.see(readings[i].count);
    }
  } while (goes_on(candidates, now_ns() - start_ns));
}

// The platform's counter is shown for each package, but only one counts (Sapphire Rapids: the master package, which
// need not be the first), and firmware may switch off even that. One that stands still must not stand for the energy of
// all packages.
void choose_psys(std::vector<Candidate>& candidates, Refusals& refusals) {
  bool chosen = false;
  std::string still;
  std::erase_if(candidates, [&](const Candidate& candidate) {
    if (candidate.info.domain != "psys") return false;
    if (candidate.unit.moves() > 0 && !chosen) {
      chosen = true;
      return false;
    }
    still = candidate.info.path;
    return true;
  });
  if (!chosen && !still.empty()) {
    refusals.add({kSource, still, "the platform's counter stands still: firmware does not feed it", "", 0});
  }
}

void set_moduli(std::vector<Candidate>& candidates) {
  // All packages of a machine have the same units, domain by domain.
  std::map<std::string, RaplUnit> units;
  for (const Candidate& candidate : candidates) units[candidate.info.domain].merge(candidate.unit);
  for (Candidate& candidate : candidates) {
    ChannelInfo& info = candidate.info;
    RaplUnit unit = units[info.domain];
    const bool shares_unit = info.domain == "core" || info.domain == "uncore";
    if (unit.moves() < RaplUnit::kFewMoves && shares_unit) unit = units["package"];
    info.modulus = unit.modulus(info.joules_per_count);
    // perf counts in 2^-32 J, but in steps of the hardware's unit: that is what the bounds have to add.
    info.quantum_joules = unit.largest(info.joules_per_count);
    if (unit.moves() < RaplUnit::kFewMoves) {
      info.quantum_joules = info.domain == "psys" ? std::max(info.quantum_joules, kCoarsestUnit) : kCoarsestUnit;
    }
  }
}

void find_pmu(const std::filesystem::path& folder, std::span<const Domain> domains, const Machine& machine,
              const Roots& roots, const Wanted& wanted, Found& found) {
  Refusals refusals(found);
  Pmu pmu;
  try {
    pmu = read_pmu(folder);
  } catch (const Error& error) {
    refusals.add(refusal_from(kSource, error));
    return;
  }
  if (pmu.events.empty()) {
    refusals.add(no_events(pmu, machine));
    return;
  }

  std::vector<Candidate> candidates = describe(pmu, domains, machine, wanted, refusals);
  watch(candidates, roots, refusals);
  choose_psys(candidates, refusals);
  set_moduli(candidates);

  std::map<std::pair<int, int>, std::unique_ptr<RaplPerf>> sources;
  for (const Candidate& candidate : candidates) {
    auto& source = sources[candidate.place];
    if (!source) source = std::make_unique<RaplPerf>();
    const int error = source->add(candidate.info, candidate.event);
    if (error != 0) refuse_event(candidate, error, roots, refusals);
  }
  for (auto& [place, source] : sources) {
    if (!source->channels().empty()) found.sources.push_back(std::move(source));
  }
}

}  // namespace

int RaplPerf::add(const ChannelInfo& info, const PerfEvent& event) {
  channels_.push_back(info);
  const int error = events_.add(event);
  if (error != 0) channels_.pop_back();
  return error;
}

void find_rapl_perf(const Roots& roots, const Wanted& wanted, Found& found) {
  const Machine machine{read_cpuinfo(roots.proc), read_topology(roots.sys)};
  const auto devices = roots.sys / "bus/event_source/devices";
  std::error_code ignored;
  if (!std::filesystem::exists(devices / "power", ignored)) {
    found.refusals.push_back(no_pmu(devices / "power", machine));
  } else {
    find_pmu(devices / "power", kPowerDomains, machine, roots, wanted, found);
  }
  // Only AMD and Hygon have counters per core, and only newer kernels show them: no refusal where it is missing.
  if (std::filesystem::exists(devices / "power_core", ignored)) {
    find_pmu(devices / "power_core", kPowerCoreDomains, machine, roots, wanted, found);
  }
}

}  // namespace powerprobe

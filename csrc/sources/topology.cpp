// SPDX-License-Identifier: MIT
#include "sources/topology.hpp"

#include <algorithm>
#include <string>

#include "sources/sysfs.hpp"

namespace powerprobe {
namespace {

int read_id(const std::filesystem::path& file) {
  const auto text = try_read_text(file);
  if (!text) return 0;
  const auto id = parse_u64(*text);
  return id ? static_cast<int>(*id) : 0;
}

}  // namespace

std::vector<Cpu> read_topology(const std::filesystem::path& sys) {
  const auto folder = sys / "devices/system/cpu";
  const auto online = try_read_text(folder / "online");
  const auto list = online ? parse_cpu_list(*online) : std::nullopt;
  std::vector<Cpu> cpus;
  for (const int cpu : list.value_or(std::vector<int>{})) {
    const auto topology = folder / ("cpu" + std::to_string(cpu)) / "topology";
    cpus.push_back({cpu, read_id(topology / "physical_package_id"), read_id(topology / "die_id"),
                    read_id(topology / "core_id")});
  }
  return cpus;
}

bool has_several_dies(const std::vector<Cpu>& cpus) {
  return std::any_of(cpus.begin(), cpus.end(), [&](const Cpu& a) {
    return std::any_of(cpus.begin(), cpus.end(),
                       [&](const Cpu& b) { return a.package == b.package && a.die != b.die; });
  });
}

}  // namespace powerprobe

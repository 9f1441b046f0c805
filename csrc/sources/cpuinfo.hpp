// SPDX-License-Identifier: MIT
// What processor this is, as /proc/cpuinfo says. Used while opening sources, on the caller's thread.
#pragma once

#include <filesystem>
#include <string>

namespace powerprobe {

// Of the first CPU listed; the others are taken to be the same kind. Numbers are -1 and texts empty where the file does
// not say (aarch64 has none of them).
struct CpuIdentity {
  std::string vendor;  // "GenuineIntel", "AuthenticAMD", "HygonGenuine"
  int family = -1;
  int model = -1;
  int stepping = -1;
  bool hypervisor = false;  // the CPU flag that virtual machines set

  [[nodiscard]] bool is_intel() const { return vendor == "GenuineIntel"; }
  // Hygon's processors are AMD's first Zen under licence, registers included.
  [[nodiscard]] bool is_amd() const { return vendor == "AuthenticAMD" || vendor == "HygonGenuine"; }
};

CpuIdentity read_cpuinfo(const std::filesystem::path& proc);

}  // namespace powerprobe

// SPDX-License-Identifier: MIT
// Which processor has which RAPL registers, and what a count of each is worth: data, and the arithmetic on it. Used
// while opening sources, on the caller's thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "sources/cpuinfo.hpp"

namespace powerprobe {

// One energy counter of a package (or die).
struct RaplDomain {
  const char* name;               // as in ChannelInfo::domain
  std::uint32_t register_number;  // its energy is bits 31:0, whatever the other half holds
  double joules_per_count = 0.0;  // 0: what the unit register says
  double max_watts = 0.0;         // 0: what the power register says
  std::int64_t stale_ns = 20'000'000;
};

enum class RaplUnit : std::uint8_t {
  kJoules,      // one count is 1/2^ESU joule
  kMicrojoules  // one count is 2^ESU microjoule
};

// What the models of one generation have in common.
struct RaplGroup {
  const char* name;
  std::uint32_t unit_register;
  std::uint32_t power_info_register;  // 0: there is none that can be trusted
  std::uint32_t stamp_register;  // energy and the time of its last update in one; 0: none, else it must prove itself
  std::uint32_t core_register;   // energy of the core that reads it; 0: none
  RaplUnit unit;
  bool is_per_die;  // counters belong to a die where a package has several
  std::int64_t update_period_ns;
  std::span<const RaplDomain> domains;  // the package first
};

struct RaplModel {
  int model;  // of Intel's family 6
  const RaplGroup* group;
};

// Null where nothing is known for certain about this processor.
const RaplGroup* find_rapl_group(const CpuIdentity& cpu);

// Every Intel model there is an answer for.
std::span<const RaplModel> rapl_models();

// Nothing where the unit register tells none: it is all zero where there is no RAPL (KVM answers so), and ESU 0 would
// make a count a whole joule (or a microjoule), which no processor has.
std::optional<double> joules_per_count(const RaplGroup& group, const RaplDomain& domain, std::uint64_t unit_register);

// More watts than the package can take: generously above what the power register says, or a default where that is
// nonsense.
double max_package_watts(std::uint64_t unit_register, std::uint64_t power_info_register);

// Ten times what any package draws, and still low enough that a counter in 2^-16 J cannot wrap twice unnoticed in the
// ten seconds that may pass between two readings (at 10 kW it wraps every 6.6 s).
inline constexpr double kMaxPackageWatts = 5'000.0;
inline constexpr double kMaxCoreWatts = 1'000.0;

}  // namespace powerprobe

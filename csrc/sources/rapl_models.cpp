// SPDX-License-Identifier: MIT
#include "sources/rapl_models.hpp"

#include <algorithm>

namespace powerprobe {
namespace {

// Registers: arch/x86/include/asm/msr-index.h of Linux 6.12, except 0x612, which the kernel has no name for (Intel SDM
// volume 4, table 2-51).
constexpr std::uint32_t kIntelUnit = 0x606;
constexpr std::uint32_t kIntelPowerInfo = 0x614;
constexpr std::uint32_t kIntelStamped = 0x612;
constexpr std::uint32_t kAmdUnit = 0xC0010299;
constexpr std::uint32_t kAmdCore = 0xC001029A;

// "As the unit register says" unless a fixed unit stands here.
constexpr double kFixedDramUnit = 1.0 / 65536;  // 15.26 uJ: SDM; RAPL_UNIT_QUIRK_INTEL_HSW in arch/x86/events/rapl.c.
                                                // powercap, turbostat and LIKWID say 15.3 uJ, which is 0.27 % more.
constexpr double kOneJoule = 1.0;               // RAPL_UNIT_QUIRK_INTEL_SPR in the same file

// A socket's memory draws 4.5 W per module under STREAM (J. McCalpin on Haswell-EP); with 24 modules that is 110 W.
constexpr double kMaxDramWatts = 1'000.0;
constexpr double kMaxPsysWatts = 10'000.0;
constexpr std::int64_t kStaleNs = 20'000'000;
constexpr std::int64_t kPsysStaleNs = 100'000'000;  // nothing is published about its update period

constexpr RaplDomain kPackage{"package", 0x611};
constexpr RaplDomain kCore{"core", 0x639};      // PP0: all cores of the package
constexpr RaplDomain kUncore{"uncore", 0x641};  // PP1: the integrated graphics
constexpr RaplDomain kDram{"dram", 0x619, 0.0, kMaxDramWatts};
constexpr RaplDomain kDramFixed{"dram", 0x619, kFixedDramUnit, kMaxDramWatts};
constexpr RaplDomain kPsys{"psys", 0x64D, 0.0, kMaxPsysWatts, kPsysStaleNs};
constexpr RaplDomain kPsysOneJoule{"psys", 0x64D, kOneJoule, kMaxPsysWatts, kPsysStaleNs};
constexpr RaplDomain kAmdPackage{"package", 0xC001029B};
static_assert(kPackage.stale_ns == kStaleNs);

// Domains by generation: the model lists of arch/x86/events/rapl.c in Linux 6.12 unless a line says otherwise. A domain
// listed here may still be absent: its register then faults or reads 0 (the core domain does on all servers).
constexpr RaplDomain kClient[] = {kPackage, kCore, kUncore};
constexpr RaplDomain kServer[] = {kPackage, kCore, kDram};
constexpr RaplDomain kClientDram[] = {kPackage, kCore, kUncore, kDram};
constexpr RaplDomain kServerFixed[] = {kPackage, kCore, kDramFixed};
constexpr RaplDomain kPhi[] = {kPackage, kDramFixed};
constexpr RaplDomain kClientPsys[] = {kPackage, kCore, kUncore, kDram, kPsys};
constexpr RaplDomain kServerPsys[] = {kPackage, kCore, kDram, kPsysOneJoule};
constexpr RaplDomain kCores[] = {kPackage, kCore};
constexpr RaplDomain kPackageOnly[] = {kPackage};
constexpr RaplDomain kAmd[] = {kAmdPackage};

// Intel's counters belong to a die where a package has several (Cascade Lake-AP): scope comments in
// arch/x86/events/rapl.c and drivers/powercap/intel_rapl_common.c. Update periods: 1 ms as documented; Sapphire Rapids
// 1.5 to 1.6 ms as measured (M. Schmidl, TU Dresden 2025, data DOI 10.25532/OPARA-935).
constexpr RaplGroup intel(const char* name, std::span<const RaplDomain> domains, std::int64_t period = 1'000'000,
                          bool is_per_die = true) {
  return {name, kIntelUnit, kIntelPowerInfo, kIntelStamped, 0, RaplUnit::kJoules, is_per_die, period, domains};
}

constexpr RaplGroup kSandyBridge = intel("Sandy Bridge", kClient);
constexpr RaplGroup kSandyBridgeX = intel("Sandy Bridge server", kServer);
constexpr RaplGroup kHaswell = intel("Haswell", kClientDram);
// DRAM fixed: the same list in perf, SDM tables 32 to 51 (digest in powercap/raplcap, msr/tools/sdm_helper.py). For
// Broadwell-D the powercap driver (rapl_defaults_core) alone disagrees and is 4 times too high.
constexpr RaplGroup kHaswellX = intel("Haswell server", kServerFixed);
constexpr RaplGroup kKnightsLanding = intel("Xeon Phi", kPhi);
constexpr RaplGroup kSkylake = intel("Skylake", kClientPsys);
// DRAM not fixed: Linux commit 80275ca9e525, SDM table 2-52; LIKWID was wrong about it until its PR 643.
// Only one package of a board, not always package 0, has a psys that counts (Linux commit 838342a6d6b7).
constexpr RaplGroup kSapphireRapids = intel("Sapphire Rapids", kServerPsys, 1'500'000);
// The registers of the TPMI generation still answer for the package with ESU 14 (Xeon 6767P: PAPI PR 635), and
// turbostat reads them once per package. Its DRAM register read 200 W on one socket and 6 W on the other: left out.
constexpr RaplGroup kTpmi = intel("Granite Rapids", kPackageOnly, 1'000'000, false);
// turbostat (tmtd_features): nothing but the package.
constexpr RaplGroup kTremontD = intel("Tremont server", kPackageOnly);
// 2^ESU uJ: rapl_check_unit_atom in drivers/powercap/intel_rapl_common.c, has_rapl_divisor in turbostat, Intel PCM.
// Domains: turbostat (slv_features), which also knows of no power register there.
constexpr RaplGroup kSilvermont = {"Silvermont", kIntelUnit, 0, 0, 0, RaplUnit::kMicrojoules, true, 1'000'000, kCores};

// One package counter per socket; the core register counts one physical core and repeats on its SMT siblings
// (Documentation/hwmon/amd_energy.rst). Some PPRs call the package register "L3"; Linux and we read it as the package.
constexpr RaplGroup kZen = {"Zen", kAmdUnit, 0, 0, kAmdCore, RaplUnit::kJoules, false, 1'000'000, kAmd};

// Model numbers: arch/x86/include/asm/intel-family.h of Linux 6.12.
constexpr RaplModel kModels[] = {
    {0x2A, &kSandyBridge},     // Sandy Bridge
    {0x3A, &kSandyBridge},     // Ivy Bridge
    {0x2D, &kSandyBridgeX},    // Sandy Bridge-X
    {0x3E, &kSandyBridgeX},    // Ivy Bridge-X
    {0x3C, &kHaswell},         // Haswell
    {0x45, &kHaswell},         // Haswell-L
    {0x46, &kHaswell},         // Haswell-G
    {0x3D, &kHaswell},         // Broadwell
    {0x47, &kHaswell},         // Broadwell-G
    {0x5C, &kHaswell},         // Goldmont: Atoms have the normal unit from here on (intel_rapl_common.c, id table)
    {0x5F, &kHaswell},         // Goldmont-D
    {0x7A, &kHaswell},         // Goldmont Plus
    {0x96, &kHaswell},         // Tremont: not in perf's list but in powercap's; domains as turbostat (tmt_features)
    {0x9C, &kHaswell},         // Tremont-L: likewise
    {0x86, &kTremontD},        // Tremont-D: likewise
    {0x3F, &kHaswellX},        // Haswell-X
    {0x4F, &kHaswellX},        // Broadwell-X
    {0x56, &kHaswellX},        // Broadwell-D
    {0x55, &kHaswellX},        // Skylake-X, Cascade Lake, Cooper Lake
    {0x6A, &kHaswellX},        // Ice Lake-X
    {0x6C, &kHaswellX},        // Ice Lake-D
    {0x57, &kKnightsLanding},  // Knights Landing
    {0x85, &kKnightsLanding},  // Knights Mill
    {0x4E, &kSkylake},         // Skylake-L
    {0x5E, &kSkylake},         // Skylake
    {0x8E, &kSkylake},         // Kaby Lake-L and its successors
    {0x9E, &kSkylake},         // Kaby Lake, Coffee Lake
    {0x66, &kSkylake},         // Cannon Lake-L
    {0x7D, &kSkylake},         // Ice Lake
    {0x7E, &kSkylake},         // Ice Lake-L
    {0x9D, &kSkylake},         // Ice Lake NNPI: not in perf's list but in powercap's; domains as turbostat
    {0x8A, &kSkylake},         // Lakefield: likewise
    {0xA7, &kSkylake},         // Rocket Lake: likewise
    {0xA5, &kSkylake},         // Comet Lake
    {0xA6, &kSkylake},         // Comet Lake-L
    {0x8C, &kSkylake},         // Tiger Lake-L
    {0x8D, &kSkylake},         // Tiger Lake
    {0x97, &kSkylake},         // Alder Lake
    {0x9A, &kSkylake},         // Alder Lake-L
    {0xBE, &kSkylake},         // Gracemont (Alder Lake-N)
    {0xB7, &kSkylake},         // Raptor Lake
    {0xBA, &kSkylake},         // Raptor Lake-P
    {0xBF, &kSkylake},         // Raptor Lake-S
    {0xAC, &kSkylake},         // Meteor Lake
    {0xAA, &kSkylake},         // Meteor Lake-L
    {0xC5, &kSkylake},         // Arrow Lake-H
    {0xC6, &kSkylake},         // Arrow Lake
    {0xB5, &kSkylake},         // Arrow Lake-U
    {0xBD, &kSkylake},         // Lunar Lake
    {0x8F, &kSapphireRapids},  // Sapphire Rapids
    {0xCF, &kSapphireRapids},  // Emerald Rapids
    {0xAD, &kTpmi},            // Granite Rapids
    {0xAE, &kTpmi},            // Granite Rapids-D
    {0xAF, &kTpmi},            // Sierra Forest (Crestmont-X)
    {0xDD, &kTpmi},            // Clearwater Forest (Darkmont-X)
    {0x37, &kSilvermont},      // Silvermont. Its server sister 0x4D (Avoton) is left out: turbostat reads its unit one
                               // way, its relatives' another, and powercap does not know it.
    {0x4A, &kSilvermont},      // Tangier
    {0x4C, &kSilvermont},      // Airmont
    {0x5A, &kSilvermont},      // Anniedale
};

constexpr unsigned energy_exponent(std::uint64_t unit_register) { return unit_register >> 8 & 0x1F; }

}  // namespace

std::span<const RaplModel> rapl_models() { return kModels; }

const RaplGroup* find_rapl_group(const CpuIdentity& cpu) {
  // AMD announces RAPL in CPUID (0x80000007 EDX bit 14) from family 17h on, so that newer families are known in
  // advance; Linux shows that bit only since 5.8 and hypervisors drop it, so what decides is whether the registers
  // answer.
  if (cpu.is_amd()) return cpu.family >= 0x17 ? &kZen : nullptr;
  // Intel announces nothing. All that registers could tell about an unlisted model (a unit that is not zero, a counter
  // that moves) Silvermont tells as well, where the unit means something else altogether. So an unlisted model is not
  // read: a refusal is better than wrong joules, and perf and powercap go by the kernel's lists, which may be newer.
  if (!cpu.is_intel() || cpu.family != 6) return nullptr;
  const auto* const found =
      std::find_if(std::begin(kModels), std::end(kModels), [&](const RaplModel& m) { return m.model == cpu.model; });
  return found == std::end(kModels) ? nullptr : found->group;
}

std::optional<double> joules_per_count(const RaplGroup& group, const RaplDomain& domain, std::uint64_t unit_register) {
  const unsigned exponent = energy_exponent(unit_register);
  if (exponent == 0) return std::nullopt;
  if (domain.joules_per_count != 0.0) return domain.joules_per_count;
  const double power_of_two = static_cast<double>(std::uint64_t{1} << exponent);
  return group.unit == RaplUnit::kJoules ? 1.0 / power_of_two : power_of_two * 1e-6;
}

double max_package_watts(std::uint64_t unit_register, std::uint64_t power_info_register) {
  constexpr double kGenerous = 4.0;
  // Below this there is no gain in being strict, and a register full of garbage must not rule out true readings.
  constexpr double kLeast = 1'000.0;
  const std::uint64_t thermal = power_info_register & 0x7FFF;
  const std::uint64_t maximum = power_info_register >> 32 & 0x7FFF;
  const double unit = 1.0 / static_cast<double>(1U << (unit_register & 0xF));
  const double watts = static_cast<double>(std::max(thermal, maximum)) * unit;
  if (watts == 0.0) return kMaxPackageWatts;
  return std::clamp(watts * kGenerous, kLeast, kMaxPackageWatts);
}

}  // namespace powerprobe

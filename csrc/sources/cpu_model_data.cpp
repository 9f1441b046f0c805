// SPDX-License-Identifier: MIT
#include "sources/cpu_model_data.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>
#include <string_view>
#include <vector>

namespace powerprobe {

// Cloud Carbon Footprint derives these from SPECpower_ssj2008 results: the power of whole servers at the wall (memory,
// fans and losses included), at active idle and at full load, divided by their hardware threads, averaged over the
// servers of a micro-architecture. A processor alone takes less than its share of a server. Repository
// cloud-carbon-footprint/ccf-coefficients, commit b0032d928c78, file output/coefficients-aws-use.csv, columns "Min
// Watts" and "Max Watts", rounded to 0.1 mW. It replaces the archived cloud-carbon-coefficients of 2023, from which Ivy
// Bridge differs most (3.04 and 8.25 W there).
// Left out: the Graviton rows (EPYC 2nd Gen's figures, for want of others) and EPYC 5th Gen (3.68 and 8.96 W, while the
// 43 servers with such processors in the same data take 0.17 to 0.9 and 1.0 to 4.4 W per thread).
const char* const kCpuWattsSource =
    "Cloud Carbon Footprint, ccf-coefficients of 2026-04-24, from SPECpower_ssj2008; Apache-2.0";

namespace {

constexpr std::array kRows = {
    CpuWatts{"Sandy Bridge", 2.2122, 8.6309},    CpuWatts{"Ivy Bridge", 1.7074, 5.5569},
    CpuWatts{"Haswell", 1.8574, 5.5954},         CpuWatts{"Broadwell", 0.7128, 3.6853},
    CpuWatts{"Skylake", 0.6130, 4.1042},         CpuWatts{"Cascade Lake", 0.6903, 4.0632},
    CpuWatts{"Coffee Lake", 1.1384, 5.4218},     CpuWatts{"Ice Lake", 0.7668, 3.7582},
    CpuWatts{"Sapphire Rapids", 1.0363, 4.1605}, CpuWatts{"Emerald Rapids", 0.8140, 4.4820},
    CpuWatts{"Granite Rapids", 0.5816, 2.5275},  CpuWatts{"EPYC 1st Gen", 0.8468, 2.6042},
    CpuWatts{"EPYC 2nd Gen", 0.4743, 1.6930},    CpuWatts{"EPYC 3rd Gen", 0.4556, 1.9573},
    CpuWatts{"EPYC 4th Gen", 0.7391, 2.2822},
};

constexpr std::string_view kIntel = "GenuineIntel";
constexpr std::string_view kAmd = "AuthenticAMD";
constexpr std::string_view kHygon = "HygonGenuine";

struct Kind {
  std::string_view vendor;
  int family;
  int first_model;
  int last_model;
  int first_stepping;
  int last_stepping;
  std::string_view architecture;
};

constexpr int kAny = 0xFFFF;

// Intel: the kernel's arch/x86/include/asm/intel-family.h, which also has the steppings of 0x55, 0x8E and 0x9E. Desktop
// and laptop parts stand with the servers of the same core. AMD: the ranges of Zen to Zen 4 in
// arch/x86/kernel/cpu/amd.c.
constexpr Kind kKinds[] = {
    {kIntel, 6, 0x2A, 0x2A, 0, kAny, "Sandy Bridge"},
    {kIntel, 6, 0x2D, 0x2D, 0, kAny, "Sandy Bridge"},
    {kIntel, 6, 0x3A, 0x3A, 0, kAny, "Ivy Bridge"},
    {kIntel, 6, 0x3E, 0x3E, 0, kAny, "Ivy Bridge"},
    {kIntel, 6, 0x3C, 0x3C, 0, kAny, "Haswell"},
    {kIntel, 6, 0x3F, 0x3F, 0, kAny, "Haswell"},
    {kIntel, 6, 0x45, 0x46, 0, kAny, "Haswell"},
    {kIntel, 6, 0x3D, 0x3D, 0, kAny, "Broadwell"},
    {kIntel, 6, 0x47, 0x47, 0, kAny, "Broadwell"},
    {kIntel, 6, 0x4F, 0x4F, 0, kAny, "Broadwell"},
    {kIntel, 6, 0x56, 0x56, 0, kAny, "Broadwell"},
    {kIntel, 6, 0x4E, 0x4E, 0, kAny, "Skylake"},
    {kIntel, 6, 0x5E, 0x5E, 0, kAny, "Skylake"},
    {kIntel, 6, 0x55, 0x55, 0, 4, "Skylake"},
    {kIntel, 6, 0x55, 0x55, 5, 7, "Cascade Lake"},  // 10 and 11 are Cooper Lake
    {kIntel, 6, 0x8E, 0x8E, 10, 10, "Coffee Lake"},
    {kIntel, 6, 0x9E, 0x9E, 10, 13, "Coffee Lake"},  // 9 is Kaby Lake
    {kIntel, 6, 0x6A, 0x6A, 0, kAny, "Ice Lake"},
    {kIntel, 6, 0x6C, 0x6C, 0, kAny, "Ice Lake"},
    {kIntel, 6, 0x7D, 0x7E, 0, kAny, "Ice Lake"},
    {kIntel, 6, 0x8F, 0x8F, 0, kAny, "Sapphire Rapids"},
    {kIntel, 6, 0xCF, 0xCF, 0, kAny, "Emerald Rapids"},
    {kIntel, 6, 0xAD, 0xAE, 0, kAny, "Granite Rapids"},
    {kAmd, 0x17, 0x00, 0x2F, 0, kAny, "EPYC 1st Gen"},
    {kAmd, 0x17, 0x50, 0x5F, 0, kAny, "EPYC 1st Gen"},
    {kHygon, 0x18, 0x00, 0xFF, 0, kAny, "EPYC 1st Gen"},
    {kAmd, 0x17, 0x30, 0x4F, 0, kAny, "EPYC 2nd Gen"},
    {kAmd, 0x17, 0x60, 0x7F, 0, kAny, "EPYC 2nd Gen"},
    {kAmd, 0x17, 0x90, 0x91, 0, kAny, "EPYC 2nd Gen"},
    {kAmd, 0x17, 0xA0, 0xAF, 0, kAny, "EPYC 2nd Gen"},
    {kAmd, 0x19, 0x00, 0x0F, 0, kAny, "EPYC 3rd Gen"},
    {kAmd, 0x19, 0x20, 0x5F, 0, kAny, "EPYC 3rd Gen"},
    {kAmd, 0x19, 0x10, 0x1F, 0, kAny, "EPYC 4th Gen"},
    {kAmd, 0x19, 0x60, 0xAF, 0, kAny, "EPYC 4th Gen"},
};

double median(double CpuWatts::*column) {
  std::vector<double> values;
  std::transform(kRows.begin(), kRows.end(), std::back_inserter(values),
                 [&](const CpuWatts& row) { return row.*column; });
  static_assert(kRows.size() % 2 == 1, "the middle of an even number of rows is between two");
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

std::span<const CpuWatts> published_cpu_watts() { return kRows; }

const CpuWatts* published_cpu_watts(const CpuIdentity& cpu) {
  const auto kind = std::find_if(std::begin(kKinds), std::end(kKinds), [&](const Kind& k) {
    return k.vendor == cpu.vendor && k.family == cpu.family && k.first_model <= cpu.model &&
           cpu.model <= k.last_model && k.first_stepping <= cpu.stepping && cpu.stepping <= k.last_stepping;
  });
  if (kind == std::end(kKinds)) return nullptr;
  return std::find_if(kRows.begin(), kRows.end(),
                      [&](const CpuWatts& row) { return row.architecture == kind->architecture; });
}

CpuCoefficients cpu_coefficients(const CpuIdentity& cpu) {
  if (const CpuWatts* row = published_cpu_watts(cpu)) {
    return {row->architecture, row->idle_watts, row->busy_watts, row->idle_watts, row->busy_watts};
  }
  const auto by_idle = [](const CpuWatts& a, const CpuWatts& b) { return a.idle_watts < b.idle_watts; };
  const auto by_busy = [](const CpuWatts& a, const CpuWatts& b) { return a.busy_watts < b.busy_watts; };
  return {{},
          median(&CpuWatts::idle_watts),
          median(&CpuWatts::busy_watts),
          std::min_element(kRows.begin(), kRows.end(), by_idle)->idle_watts,
          std::max_element(kRows.begin(), kRows.end(), by_busy)->busy_watts};
}

}  // namespace powerprobe

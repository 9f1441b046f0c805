// SPDX-License-Identifier: MIT
#include "sources/cpu_model_data.hpp"

#include <doctest/doctest.h>

#include <set>
#include <string>

using namespace powerprobe;

namespace {

std::string architecture(const std::string& vendor, int family, int model, int stepping = 1) {
  const CpuWatts* row = published_cpu_watts({vendor, family, model, stepping, false});
  return row == nullptr ? "" : row->architecture;
}

}  // namespace

TEST_CASE("a processor is of the micro-architecture that family, model and stepping say") {
  struct Row {
    std::string vendor;
    int family, model, stepping;
    std::string architecture;
  };
  for (const Row& row : {
           Row{"GenuineIntel", 6, 0x2A, 7, "Sandy Bridge"},
           Row{"GenuineIntel", 6, 0x3E, 4, "Ivy Bridge"},
           Row{"GenuineIntel", 6, 0x3F, 2, "Haswell"},
           Row{"GenuineIntel", 6, 0x46, 1, "Haswell"},
           Row{"GenuineIntel", 6, 0x4F, 1, "Broadwell"},
           Row{"GenuineIntel", 6, 0x55, 4, "Skylake"},
           Row{"GenuineIntel", 6, 0x55, 7, "Cascade Lake"},
           Row{"GenuineIntel", 6, 0x55, 11, ""},  // Cooper Lake
           Row{"GenuineIntel", 6, 0x9E, 9, ""},   // Kaby Lake
           Row{"GenuineIntel", 6, 0x9E, 10, "Coffee Lake"},
           Row{"GenuineIntel", 6, 0x8E, 12, ""},  // Whiskey Lake
           Row{"GenuineIntel", 6, 0x6A, 6, "Ice Lake"},
           Row{"GenuineIntel", 6, 0x8F, 8, "Sapphire Rapids"},
           Row{"GenuineIntel", 6, 0xCF, 2, "Emerald Rapids"},
           Row{"GenuineIntel", 6, 0xAD, 1, "Granite Rapids"},
           Row{"GenuineIntel", 6, 0xA7, 1, ""},
           Row{"GenuineIntel", 15, 0x2A, 1, ""},
           Row{"AuthenticAMD", 0x17, 0x01, 2, "EPYC 1st Gen"},
           Row{"HygonGenuine", 0x18, 0x00, 2, "EPYC 1st Gen"},
           Row{"AuthenticAMD", 0x17, 0x31, 0, "EPYC 2nd Gen"},
           Row{"AuthenticAMD", 0x17, 0x71, 0, "EPYC 2nd Gen"},
           Row{"AuthenticAMD", 0x19, 0x01, 1, "EPYC 3rd Gen"},
           Row{"AuthenticAMD", 0x19, 0x21, 2, "EPYC 3rd Gen"},
           Row{"AuthenticAMD", 0x19, 0x11, 1, "EPYC 4th Gen"},
           Row{"AuthenticAMD", 0x19, 0x61, 2, "EPYC 4th Gen"},
           Row{"AuthenticAMD", 0x1A, 0x02, 1, ""},
           Row{"GenuineIntel", 0x17, 0x01, 1, ""},
           Row{"", -1, -1, -1, ""},
       }) {
    CAPTURE(row.vendor);
    CAPTURE(row.family);
    CAPTURE(row.model);
    CAPTURE(row.stepping);
    CHECK(architecture(row.vendor, row.family, row.model, row.stepping) == row.architecture);
  }
}

TEST_CASE("every row is reached by some processor, and is a range") {
  std::set<std::string> reached;
  for (const char* vendor : {"GenuineIntel", "AuthenticAMD", "HygonGenuine"}) {
    for (int family = 0; family < 0x20; ++family) {
      for (int model = 0; model < 0x100; ++model) {
        for (int stepping = 0; stepping < 16; ++stepping) reached.insert(architecture(vendor, family, model, stepping));
      }
    }
  }
  CHECK(published_cpu_watts().size() == 15);
  for (const CpuWatts& row : published_cpu_watts()) {
    CAPTURE(row.architecture);
    CHECK(reached.contains(row.architecture));
    CHECK(row.idle_watts > 0.0);
    CHECK(row.busy_watts > row.idle_watts);
  }
}

TEST_CASE("a known processor has its own figures and their range") {
  const CpuCoefficients watts = cpu_coefficients({"AuthenticAMD", 0x19, 0x01, 1, false});
  CHECK(watts.architecture == "EPYC 3rd Gen");
  CHECK(watts.idle_watts == 0.4556);
  CHECK(watts.busy_watts == 1.9573);
  CHECK(watts.low_watts == watts.idle_watts);
  CHECK(watts.high_watts == watts.busy_watts);
}

TEST_CASE("an unknown processor has the medians and the widest range") {
  const CpuCoefficients watts = cpu_coefficients({});
  CHECK(watts.architecture.empty());
  CHECK(watts.idle_watts == 0.7668);
  CHECK(watts.busy_watts == 4.0632);
  CHECK(watts.low_watts == 0.4556);
  CHECK(watts.high_watts == 8.6309);
}

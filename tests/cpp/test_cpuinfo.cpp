// SPDX-License-Identifier: MIT
#include "sources/cpuinfo.hpp"

#include <doctest/doctest.h>

#include "tree.hpp"

using namespace powerprobe;

TEST_CASE("the first CPU says what processor this is") {
  const Tree tree;
  tree.write("cpuinfo",
             "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 85\nmodel name\t: Xeon: model 3\n"
             "stepping\t: 7\nflags\t\t: fpu hypervisor lahf_lm\n\n"
             "processor\t: 1\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 1\nstepping\t: 1\n");

  const auto cpu = read_cpuinfo(tree.root());

  CHECK(cpu.is_intel());
  CHECK_FALSE(cpu.is_amd());
  CHECK(cpu.family == 6);
  CHECK(cpu.model == 85);
  CHECK(cpu.stepping == 7);
  CHECK(cpu.hypervisor);
}

TEST_CASE("a flag is a whole word") {
  const Tree tree;
  tree.write("cpuinfo", "vendor_id\t: HygonGenuine\nflags\t\t: xhypervisor hypervisors fpu");
  CHECK_FALSE(read_cpuinfo(tree.root()).hypervisor);
  CHECK(read_cpuinfo(tree.root()).is_amd());
}

TEST_CASE("what the file does not say is not known") {
  const Tree tree;
  tree.write("cpuinfo", "processor\t: 0\nBogoMIPS\t: 50.00\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c");
  for (const auto& folder : {tree.root(), tree.root() / "missing"}) {
    const auto cpu = read_cpuinfo(folder);
    CHECK(cpu.vendor.empty());
    CHECK(cpu.family == -1);
    CHECK(cpu.model == -1);
    CHECK_FALSE(cpu.is_intel());
    CHECK_FALSE(cpu.is_amd());
  }
  tree.write("cpuinfo", "vendor_id\t: GenuineIntel\ncpu family\t: six\nmodel\t: 99999999999");
  CHECK(read_cpuinfo(tree.root()).family == -1);
  CHECK(read_cpuinfo(tree.root()).model == -1);
}

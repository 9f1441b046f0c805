// SPDX-License-Identifier: MIT
// Which CPU belongs to which core, die and package, as the kernel says and never by arithmetic on CPU numbers.
#pragma once

#include <filesystem>
#include <vector>

namespace powerprobe {

struct Cpu {
  int cpu = 0;
  int package = 0;  // physical_package_id; may be sparse
  int die = 0;      // die_id; unique only inside its package
  int core = 0;     // core_id; unique only inside its package (or die)
};

// All online CPUs in ascending order. Where a file is missing or holds -1 (some virtual machines) its part is 0; where
// even the list of online CPUs is missing the answer is empty.
std::vector<Cpu> read_topology(const std::filesystem::path& sys);

// True when some package of the list has CPUs on more than one die.
bool has_several_dies(const std::vector<Cpu>& cpus);

}  // namespace powerprobe

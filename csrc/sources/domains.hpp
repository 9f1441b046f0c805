// SPDX-License-Identifier: MIT
// Names of channels, and which domain contains which.
#pragma once

#include <string>
#include <vector>

#include "core/source.hpp"

namespace powerprobe {

// "package-0", "package-0-die-1", "core-0" (all cores of package 0), "core-0-7" (core 7 of package 0), "dram-1", "psys";
// parts that are -1 are left out.
std::string channel_name(const std::string& domain, int package, int die = -1, int core = -1);

// Sets `parent` of each channel to the innermost one of the set that contains it: psys over package over core and uncore,
// dram beside package and inside psys. Channels without a parent are roots; only roots are added up.
void nest(std::vector<ChannelInfo>& channels);

}  // namespace powerprobe

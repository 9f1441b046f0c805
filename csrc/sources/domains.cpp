// SPDX-License-Identifier: MIT
#include "sources/domains.hpp"

namespace powerprobe {
namespace {

// How far out a domain lies: a channel's parent is the nearest one further out that covers the same package.
int rank(const ChannelInfo& channel) {
  if (channel.domain == "psys") return 4;
  if (channel.domain == "module") return 3;
  if (channel.gpu >= 0) return channel.name == channel_name("gpu", channel.gpu) ? 2 : 1;
  if (channel.domain == "package" || channel.domain == "dram") return 2;
  if (channel.domain == "core" && channel.core >= 0) return 0;
  return 1;
}

bool contains(const ChannelInfo& outer, const ChannelInfo& inner) {
  if (rank(outer) <= rank(inner) || outer.domain == "dram") return false;
  // A superchip's module holds its processor and its GPU, which share their number.
  if (outer.domain == "module") return inner.gpu == outer.gpu || inner.package == outer.gpu;
  if (outer.gpu >= 0 || inner.gpu >= 0) return outer.gpu == inner.gpu;
  // The platform counts every package, whichever package answers for it (Sapphire Rapids: one master package).
  if (outer.domain == "psys") return inner.package >= 0 || inner.domain == "cpu";
  // A single core lies inside "all cores" (never inside the graphics) and inside the package.
  if (rank(outer) == 1 && outer.domain != "core") return false;
  return outer.package == inner.package && (outer.die == inner.die || outer.die < 0 || inner.die < 0);
}

}  // namespace

std::string channel_name(const std::string& domain, int package, int die, int core) {
  std::string name = domain;
  if (package >= 0) name.append("-").append(std::to_string(package));
  if (die >= 0) name.append("-die-").append(std::to_string(die));
  if (core >= 0) name.append("-").append(std::to_string(core));
  return name;
}

void nest(std::vector<ChannelInfo>& channels) {
  for (ChannelInfo& inner : channels) {
    const ChannelInfo* best = nullptr;
    for (const ChannelInfo& outer : channels) {
      if (contains(outer, inner) && (best == nullptr || rank(outer) < rank(*best))) best = &outer;
    }
    inner.parent = best == nullptr ? std::string() : best->name;
  }
}

}  // namespace powerprobe

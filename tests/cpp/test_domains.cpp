// SPDX-License-Identifier: MIT
#include "sources/domains.hpp"

#include <doctest/doctest.h>

#include <map>

using namespace powerprobe;

namespace {

ChannelInfo channel(const std::string& domain, int package, int die = -1, int core = -1) {
  ChannelInfo info;
  info.domain = domain;
  info.package = package;
  info.die = die;
  info.core = core;
  info.name = channel_name(domain, package, die, core);
  return info;
}

std::map<std::string, std::string> parents(std::vector<ChannelInfo> infos) {
  nest(infos);
  std::map<std::string, std::string> result;
  for (const auto& info : infos) result[info.name] = info.parent;
  return result;
}

}  // namespace

TEST_CASE("names leave out what a channel does not have") {
  CHECK(channel_name("package", 0) == "package-0");
  CHECK(channel_name("package", 1, 0) == "package-1-die-0");
  CHECK(channel_name("core", 0, -1, 7) == "core-0-7");
  CHECK(channel_name("psys", -1) == "psys");
}

TEST_CASE("core and uncore lie in their package, dram beside it") {
  const auto parent = parents({channel("package", 0), channel("core", 0), channel("uncore", 0), channel("dram", 0),
                               channel("package", 1), channel("core", 1)});
  CHECK(parent.at("package-0").empty());
  CHECK(parent.at("dram-0").empty());
  CHECK(parent.at("core-0") == "package-0");
  CHECK(parent.at("uncore-0") == "package-0");
  CHECK(parent.at("core-1") == "package-1");
}

TEST_CASE("the platform contains packages and memory of all sockets") {
  const auto parent = parents({channel("psys", -1), channel("package", 0), channel("package", 1), channel("dram", 1),
                               channel("core", 0)});
  CHECK(parent.at("psys").empty());
  CHECK(parent.at("package-1") == "psys");
  CHECK(parent.at("dram-1") == "psys");
  CHECK(parent.at("core-0") == "package-0");
}

TEST_CASE("without its package a core domain is a root, and single cores lie in the innermost one there is") {
  CHECK(parents({channel("core", 0), channel("dram", 0)}).at("core-0").empty());
  CHECK(parents({channel("package", 0), channel("core", 0, -1, 3)}).at("core-0-3") == "package-0");
  CHECK(parents({channel("package", 0), channel("core", 0), channel("uncore", 0), channel("core", 0, -1, 3)})
            .at("core-0-3") == "core-0");
}

TEST_CASE("dies have packages of their own") {
  const auto parent = parents({channel("package", 0, 0), channel("package", 0, 1), channel("core", 0, 1)});
  CHECK(parent.at("core-0-die-1") == "package-0-die-1");
}

// SPDX-License-Identifier: MIT
#include "sources/topology.hpp"

#include <doctest/doctest.h>

#include <fstream>
#include <string>

using namespace powerprobe;
namespace fs = std::filesystem;

namespace {

struct Tree {
  fs::path root = fs::temp_directory_path() / "powerprobe_topology_test";
  Tree() { fs::remove_all(root); }
  ~Tree() { fs::remove_all(root); }
  void write(const std::string& name, const std::string& text) const {
    const auto file = root / "devices/system/cpu" / name;
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text << '\n';
  }
};

}  // namespace

TEST_CASE("packages, dies and cores are what the kernel says, with sparse ids") {
  const Tree tree;
  tree.write("online", "0-1,4");
  tree.write("cpu0/topology/physical_package_id", "0");
  tree.write("cpu0/topology/die_id", "0");
  tree.write("cpu0/topology/core_id", "12");
  tree.write("cpu1/topology/physical_package_id", "0");
  tree.write("cpu1/topology/die_id", "1");
  tree.write("cpu1/topology/core_id", "0");
  tree.write("cpu4/topology/physical_package_id", "3");
  tree.write("cpu4/topology/die_id", "0");
  tree.write("cpu4/topology/core_id", "-1");

  const auto cpus = read_topology(tree.root);

  REQUIRE(cpus.size() == 3);
  CHECK(cpus[0].core == 12);
  CHECK(cpus[1].die == 1);
  CHECK(cpus[2].cpu == 4);
  CHECK(cpus[2].package == 3);
  CHECK(cpus[2].core == 0);
  CHECK(has_several_dies(cpus));
}

TEST_CASE("a machine without these files has no CPUs that we know of") {
  const Tree tree;
  CHECK(read_topology(tree.root).empty());
  tree.write("online", "garbage");
  CHECK(read_topology(tree.root).empty());
}

// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cerrno>

#include "core/error.hpp"
#include "one_watt.hpp"
#include "sources/perf_pmu.hpp"

using namespace powerprobe;

namespace {

struct PowerPmu : one_watt::Tree {
  PowerPmu() {
    pmu("power", 13, "0,16");
    event("power", "energy-pkg", "event=0x02", 1.0 / 4294967296.0);
    event("power", "energy-ram", "event=0x03", 1.0 / 4294967296.0);
  }
  [[nodiscard]] std::filesystem::path folder() const { return path(devices() + "power"); }
  void put(const std::string& file, const std::string& text) const { write(devices() + "power/" + file, text); }

  // The file that reading everything complains about; empty when it does not.
  [[nodiscard]] std::string complaint() const {
    try {
      const Pmu pmu = read_pmu(folder());
      for (const auto& name : pmu.events) read_pmu_event(pmu, name);
      return "";
    } catch (const Error& error) {
      const std::string what = error.what();
      CHECK(what.find(error.path()) != std::string::npos);
      return std::filesystem::path(error.path()).lexically_relative(folder());
    }
  }
};

}  // namespace

TEST_CASE("a PMU is what its folder says") {
  const PowerPmu tree;

  const Pmu pmu = read_pmu(tree.folder());
  const PmuEvent event = read_pmu_event(pmu, "energy-ram");

  CHECK(pmu.name == "power");
  CHECK(pmu.type == 13);
  CHECK(pmu.cpus == std::vector<int>{0, 16});
  CHECK(pmu.events == std::vector<std::string>{"energy-pkg", "energy-ram"});
  CHECK(event.config == 3);
  CHECK(event.scale == 1.0 / 4294967296.0);
  CHECK(event.unit == "Joules");
}

TEST_CASE("a term goes to the bits that its format names") {
  const PowerPmu tree;
  tree.put("format/event", "config:8-15");
  tree.put("format/mode", "config:63");
  tree.put("events/energy-pkg", "event=0xff,mode=1");
  CHECK(read_pmu_event(read_pmu(tree.folder()), "energy-pkg").config == ((0xffull << 8) | (1ull << 63)));
  tree.put("format/event", "config:0-63");
  tree.put("events/energy-pkg", "event=0xffffffffffffffff");
  CHECK(read_pmu_event(read_pmu(tree.folder()), "energy-pkg").config == UINT64_MAX);
}

TEST_CASE("garbage is refused with the name of the file that holds it") {
  struct Case {
    const char* file;
    std::vector<const char*> garbage;
  };
  const Case cases[] = {
      {"type", {"", "x", "-1", "4294967296", "13 14"}},
      {"cpumask", {"", "x", "1-0", "0;1", "99999999"}},
      {"format/event", {"", "config", "config:", "config:7-0", "config:0-64", "config1:0-7", "config:0-3,8-11"}},
      {"events/energy-pkg", {"", "event", "event=", "=0x02", "event=0x100", "event=-1", "event=0x02,", "a/b=1"}},
      {"events/energy-pkg.scale", {"", "x", "0", "-1", "nan", "inf", "1e-9 J"}},
  };
  for (const Case& one : cases) {
    for (const char* garbage : one.garbage) {
      const PowerPmu tree;
      REQUIRE(tree.complaint().empty());
      tree.put(one.file, garbage);
      CAPTURE(garbage);
      CHECK(tree.complaint() == one.file);
    }
  }
}

TEST_CASE("a file that is missing is named too") {
  for (const char* file :
       {"type", "cpumask", "events", "format/event", "events/energy-pkg.scale", "events/energy-pkg.unit"}) {
    const PowerPmu tree;
    tree.remove(tree.devices() + "power/" + file);
    CAPTURE(file);
    CHECK(tree.complaint() == file);
  }
  const PowerPmu tree;
  tree.put("events/energy-pkg", "umask=0x02");
  CHECK(tree.complaint() == "format/umask");
}

// SPDX-License-Identifier: MIT
#include "sources/rapl_powercap.hpp"

#include <doctest/doctest.h>
#include <grp.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <map>

#include "allocations.hpp"
#include "tree.hpp"

using namespace powerprobe;
namespace fs = std::filesystem;

namespace {

constexpr const char* kUnit14 = "262143328850";  // 2^-14 J, as the driver shows it
constexpr const char* kUnit16 = "65532610987";   // 2^-16 J
constexpr const char* kDram = "65712999613";     // the fixed DRAM unit of servers, taken as 15.3 uJ

// A machine that the test describes: /sys with links as the kernel has them, and /proc.
struct Machine {
  Tree tree;
  Roots roots{tree.root() / "sys", tree.root() / "dev", tree.root() / "proc"};

  Machine() { cpu("GenuineIntel", 6, 0x55); }

  void cpu(const std::string& vendor, int family, int model, const std::string& flags = "fpu") const {
    tree.write("proc/cpuinfo", "processor\t: 0\nvendor_id\t: " + vendor + "\ncpu family\t: " + std::to_string(family) +
                                   "\nmodel\t\t: " + std::to_string(model) + "\nflags\t\t: " + flags + "\n");
  }

  // One CPU for each {package, die, core}.
  void topology(const std::vector<std::array<int, 3>>& cpus) const {
    tree.write("sys/devices/system/cpu/online", "0-" + std::to_string(cpus.size() - 1));
    for (std::size_t i = 0; i < cpus.size(); ++i) {
      const std::string folder = "sys/devices/system/cpu/cpu" + std::to_string(i) + "/topology/";
      tree.write(folder + "physical_package_id", std::to_string(cpus[i][0]));
      tree.write(folder + "die_id", std::to_string(cpus[i][1]));
      tree.write(folder + "core_id", std::to_string(cpus[i][2]));
    }
  }

  [[nodiscard]] std::string file(const std::string& label, const std::string& name) const {
    return "sys/devices/virtual/powercap/" + label + "/" + name;
  }

  void zone(const std::string& label, const std::string& name, const std::string& energy,
            const std::string& range = kUnit14) const {
    tree.write(file(label, "name"), name);
    tree.write(file(label, "energy_uj"), energy);
    tree.write(file(label, "max_energy_range_uj"), range);
    tree.write(file(label, "enabled"), "0");
    const auto link = roots.sys / "class/powercap" / label;
    fs::create_directories(link.parent_path());
    fs::create_directory_symlink("../../devices/virtual/powercap/" + label, link);
  }

  [[nodiscard]] std::string energy_path(const std::string& label) const {
    return (roots.sys / "class/powercap" / label / "energy_uj").string();
  }

  [[nodiscard]] Found find(const Wanted& wanted = [](const ChannelInfo&) { return true; }) const {
    Found found;
    find_rapl_powercap(roots, wanted, found);
    return found;
  }
};

// Every channel of every source with what it reads, by name; a name twice is a failure.
struct Seen {
  ChannelInfo info;
  Reading reading;
  std::size_t source = 0;
};

std::map<std::string, Seen> look(const Found& found) {
  std::map<std::string, Seen> seen;
  for (std::size_t s = 0; s < found.sources.size(); ++s) {
    const auto& channels = found.sources[s]->channels();
    std::vector<Reading> readings(channels.size());
    found.sources[s]->read(readings);
    for (std::size_t i = 0; i < channels.size(); ++i) {
      CHECK_FALSE(seen.contains(channels[i].name));
      seen[channels[i].name] = {channels[i], readings[i], s};
    }
  }
  return seen;
}

}  // namespace

TEST_CASE("every zone of a machine becomes the channel that its name says") {
  struct Zone {
    std::string label, name, channel;
    int source;
  };
  struct Row {
    std::string machine;
    std::vector<std::array<int, 3>> cpus;
    std::vector<Zone> zones;
  };
  const std::vector<Row> rows = {
      {"client with platform counter",
       {{0, 0, 0}, {0, 0, 0}, {0, 0, 1}},
       {{"intel-rapl:0", "package-0", "package-0", 0},
        {"intel-rapl:0:0", "core", "core-0", 0},
        {"intel-rapl:0:1", "uncore", "uncore-0", 0},
        {"intel-rapl:0:2", "dram", "dram-0", 0},
        {"intel-rapl:1", "psys", "psys", 1}}},
      {"server with two packages, listed the other way round",
       {{0, 0, 0}, {1, 0, 0}},
       {{"intel-rapl:0", "package-1", "package-1", 0},
        {"intel-rapl:0:0", "dram", "dram-1", 0},
        {"intel-rapl:1", "package-0", "package-0", 1},
        {"intel-rapl:1:0", "dram", "dram-0", 1}}},
      {"two dies in each package",
       {{0, 0, 0}, {0, 1, 0}, {1, 0, 0}, {1, 1, 0}},
       {{"intel-rapl:0", "package-0-die-0", "package-0-die-0", 0},
        {"intel-rapl:1", "package-0-die-1", "package-0-die-1", 1},
        {"intel-rapl:1:0", "dram", "dram-0-die-1", 1},
        {"intel-rapl:2", "package-1-die-0", "package-1-die-0", 2},
        {"intel-rapl:3", "package-1-die-1", "package-1-die-1", 3}}},
      {"TPMI: psys comes first, package ids are sparse",
       {{0, 0, 0}, {4, 0, 0}},
       {{"intel-rapl:0", "psys-4", "psys", 0},
        {"intel-rapl:1", "package-0", "package-0", 1},
        {"intel-rapl:1:0", "dram", "dram-0", 1},
        {"intel-rapl:2", "package-4", "package-4", 2}}},
      {"platform counters of several packages",
       {{0, 0, 0}, {1, 0, 0}},
       {{"intel-rapl:0", "psys", "psys-0", 0}, {"intel-rapl:1", "psys-1", "psys-1", 1}}},
      {"indices beyond nine are hexadecimal, and sorted as numbers",
       {{0, 0, 0}, {16, 0, 0}},
       {{"intel-rapl:a", "package-0", "package-0", 0},
        {"intel-rapl:a:0", "dram", "dram-0", 0},
        {"intel-rapl:10", "package-16", "package-16", 1}}},
      {"memory-mapped only: without the register zone the twin is what there is",
       {{0, 0, 0}},
       {{"intel-rapl-mmio:0", "package-0", "package-0", 0}, {"intel-rapl-mmio:0:0", "dram", "dram-0", 0}}},
      {"the indices of the two control types have nothing to do with each other",
       {{0, 0, 0}, {1, 0, 0}},
       {{"intel-rapl:0", "package-1", "package-1", 0},
        {"intel-rapl-mmio:0", "package-0", "package-0", 1},
        {"intel-rapl-mmio:0:0", "dram", "dram-0", 1}}},
  };
  for (const Row& row : rows) {
    CAPTURE(row.machine);
    const Machine machine;
    machine.topology(row.cpus);
    std::uint64_t energy = 1000;
    for (const Zone& zone : row.zones) machine.zone(zone.label, zone.name, std::to_string(energy++));
    fs::create_directories(machine.roots.sys / "class/powercap/dtpm:0");

    const Found found = machine.find();
    const auto seen = look(found);

    CHECK(found.refusals.empty());
    CHECK(seen.size() == row.zones.size());
    energy = 1000;
    for (const Zone& zone : row.zones) {
      CAPTURE(zone.label);
      REQUIRE(seen.contains(zone.channel));
      const Seen& channel = seen.at(zone.channel);
      CHECK(channel.reading.status == ReadStatus::kOk);
      CHECK(channel.reading.count == energy++);
      CHECK(channel.info.path == machine.energy_path(zone.label));
      CHECK(channel.source == static_cast<std::size_t>(zone.source));
      CHECK(channel.info.source == "rapl_powercap");
      CHECK(channel.info.provenance == Provenance::kMeasured);
    }
  }
}

TEST_CASE("a channel says where it belongs, how fast it moves and who reads it best") {
  const Machine machine;
  machine.topology({{0, 0, 0}, {0, 1, 0}, {1, 0, 0}, {1, 1, 0}});
  machine.zone("intel-rapl:0", "package-1-die-1", "1");
  machine.zone("intel-rapl:0:0", "dram", "1");
  machine.zone("intel-rapl:1", "psys", "1");
  machine.tree.write(machine.file("intel-rapl:0", "constraint_0_max_power_uw"), "205000000");
  machine.tree.write(machine.file("intel-rapl:0", "constraint_1_max_power_uw"), "0");
  machine.tree.write(machine.file("intel-rapl:0:0", "constraint_0_max_power_uw"), "15000000");
  machine.tree.write(machine.file("intel-rapl:1", "constraint_0_max_power_uw"), "4095875000000");

  const auto seen = look(machine.find());

  const ChannelInfo& package = seen.at("package-1-die-1").info;
  CHECK(package.domain == "package");
  CHECK(package.package == 1);
  CHECK(package.die == 1);
  CHECK(package.cpu == 3);
  CHECK(package.update_period_ns == 1'000'000);
  CHECK(package.stale_ns == 20'000'000);
  CHECK(package.max_watts == doctest::Approx(820.0));
  CHECK(seen.at("dram-1-die-1").info.max_watts == doctest::Approx(250.0));
  CHECK(seen.at("psys").info.package == -1);
  CHECK(seen.at("psys").info.stale_ns == 100'000'000);
  CHECK(seen.at("psys").info.max_watts == doctest::Approx(10'000.0));
}

TEST_CASE("the range gives modulus and unit of the 32-bit counter behind it") {
  CHECK(powercap_range(262'143'328'850).modulus == 262'143'328'911);  // 2^32 x 61035 nJ
  CHECK(powercap_range(262'143'328'850).unit_nj == 61'035);
  CHECK(powercap_range(65'532'610'987).modulus == 65'532'611'002);  // 2^32 x 15258 nJ = ...002.4 uJ
  CHECK(powercap_range(65'532'610'987).unit_nj == 15'258);
  CHECK(powercap_range(65'712'999'613).unit_nj == 15'300);
  CHECK(powercap_range(4'294'967'295'000'000).modulus == 4'294'967'296'000'000);  // 1 J
  CHECK(powercap_range(4'294'967'295'000'000).unit_nj == 1'000'000'000);
  for (std::uint64_t unit_nj = 1; unit_nj < 4'000'000'000; unit_nj = unit_nj * 3 + 7) {
    CAPTURE(unit_nj);
    const PowercapRange range = powercap_range(0xFFFFFFFF * unit_nj / 1000);
    CHECK(range.unit_nj == unit_nj);
    CHECK(std::abs(static_cast<double>(range.modulus) - 0x1p32 * static_cast<double>(unit_nj) / 1000) <= 1.0);
  }
}

TEST_CASE("a range that fits no 32-bit counter is the largest value, and none or a senseless one says nothing") {
  CHECK(powercap_range(1'000'000).modulus == 1'000'001);
  CHECK(powercap_range(1'000'000).unit_nj == 0);
  CHECK(powercap_range(UINT64_MAX - 1).modulus == UINT64_MAX);
  CHECK(powercap_range(UINT64_MAX - 1).unit_nj == 0);
  for (const auto& nothing :
       {std::optional<std::uint64_t>(), std::optional<std::uint64_t>(0), std::optional<std::uint64_t>(UINT64_MAX)}) {
    CHECK(powercap_range(nothing).modulus == 0);
    CHECK(powercap_range(nothing).unit_nj == 0);
  }
}

TEST_CASE("joules are those of the counter, without what the driver cuts off its unit") {
  CHECK(exact_unit_nj(61'035) == 61035.15625);
  CHECK(exact_unit_nj(15'258) == 15258.7890625);
  CHECK(exact_unit_nj(15'300) == 15258.7890625);  // 15.3 uJ is the data sheet's rounding of 2^-16 J
  CHECK(exact_unit_nj(1'000'000'000) == 1e9);
  CHECK(exact_unit_nj(32'000) == 32'000.0);  // Silvermont: 2^5 uJ

  struct Row {
    std::string domain, range;
    int model;
    double per_count, quantum;
  };
  for (const Row& row : {Row{"package", kUnit14, 0x55, 1e-6 * 61035.15625 / 61035, 0x1p-14},
                         Row{"dram", kDram, 0x55, 1e-6 * 15258.7890625 / 15300, 0x1p-16},
                         Row{"dram", kUnit14, 0x8F, 1e-6 * 61035.15625 / 61035, 0x1p-14},
                         Row{"dram", kUnit14, 0x56, 1e-6 * 15258.7890625 / 61035, 0x1p-16},  // Broadwell-D
                         Row{"package", kUnit16, 0x56, 1e-6 * 15258.7890625 / 15258, 0x1p-16},
                         Row{"psys", "4294967295000000", 0x8F, 1e-6, 1.0}}) {
    CAPTURE(row.domain);
    CAPTURE(row.model);
    const Machine machine;
    machine.cpu("GenuineIntel", 6, row.model);
    machine.zone("intel-rapl:0",
                 row.domain == "dram"   ? "package-0"
                 : row.domain == "psys" ? "psys"
                                        : "package-0",
                 "1", row.range);
    if (row.domain == "dram") machine.zone("intel-rapl:0:0", "dram", "1", row.range);
    const auto seen = look(machine.find());
    const ChannelInfo& info = seen.at(row.domain == "psys" ? "psys" : row.domain + "-0").info;
    CHECK(info.joules_per_count == doctest::Approx(row.per_count).epsilon(1e-12));
    CHECK(info.quantum_joules == doctest::Approx(row.quantum).epsilon(1e-12));
  }
}

TEST_CASE("a range that cannot be used leaves the counter without a modulus, never with an invented one") {
  for (const std::string range : {"", "0", "-1", "garbage", "18446744073709551616", "262143328850 J"}) {
    CAPTURE(range);
    const Machine machine;
    machine.zone("intel-rapl:0", "package-0", "5", range);
    const auto seen = look(machine.find());
    CHECK(seen.at("package-0").info.modulus == 0);
    CHECK(seen.at("package-0").info.joules_per_count == 1e-6);
    CHECK(seen.at("package-0").info.quantum_joules == 0.0);
  }
  const Machine machine;
  machine.zone("intel-rapl:0", "package-0", "5");
  fs::remove(machine.roots.sys / "class/powercap/intel-rapl:0/max_energy_range_uj");
  CHECK(look(machine.find()).at("package-0").info.modulus == 0);
}

TEST_CASE("AMD: one counter for each socket whatever the dies, and core is the core of the first CPU") {
  const Machine machine;
  machine.cpu("AuthenticAMD", 0x19, 0x01);
  machine.topology({{0, 0, 12}, {0, 1, 13}, {1, 0, 7}});
  machine.zone("intel-rapl:0", "package-0-die-0", "10", kUnit16);
  machine.zone("intel-rapl:0:0", "core", "1", kUnit16);
  machine.zone("intel-rapl:1", "package-0-die-1", "10", kUnit16);
  machine.zone("intel-rapl:2", "package-1", "20", kUnit16);
  machine.zone("intel-rapl:2:0", "core", "2", kUnit16);

  const Found found = machine.find();
  const auto seen = look(found);

  CHECK(seen.size() == 4);
  CHECK(seen.at("package-0").reading.count == 10);
  CHECK(seen.at("core-0-12").reading.count == 1);
  CHECK(seen.at("core-0-12").info.core == 12);
  CHECK(seen.at("package-1").info.cpu == 2);
  CHECK(seen.at("core-1-7").info.domain == "core");
  REQUIRE(found.refusals.size() == 1);
  CHECK(found.refusals[0].path == machine.energy_path("intel-rapl:1"));
  CHECK(found.refusals[0].reason == "the same counter as intel-rapl:0");
}

TEST_CASE("AMD: a core that nobody can name is refused") {
  const Machine machine;
  machine.cpu("HygonGenuine", 0x18, 0x00);
  machine.zone("intel-rapl:0", "package-0", "10", kUnit16);
  machine.zone("intel-rapl:0:0", "core", "1", kUnit16);
  const Found found = machine.find();
  CHECK(look(found).size() == 1);
  REQUIRE(found.refusals.size() == 1);
  CHECK(found.refusals[0].path == machine.energy_path("intel-rapl:0:0"));
}

TEST_CASE("the memory-mapped twin is the same counter: refused beside the register zone, used in its place") {
  const Machine machine;
  machine.zone("intel-rapl-mmio:0", "package-0", "7");
  machine.zone("intel-rapl:0", "package-0", "7");
  SUBCASE("both readable") {
    const Found found = machine.find();
    CHECK(look(found).at("package-0").info.path == machine.energy_path("intel-rapl:0"));
    REQUIRE(found.refusals.size() == 1);
    CHECK(found.refusals[0].path == machine.energy_path("intel-rapl-mmio:0"));
    CHECK(found.refusals[0].reason == "the same counter as intel-rapl:0");
    CHECK(found.refusals[0].remedy.empty());
  }
  SUBCASE("the register zone is broken") {
    machine.tree.write(machine.file("intel-rapl:0", "energy_uj"), "broken");
    const Found found = machine.find();
    CHECK(look(found).at("package-0").info.path == machine.energy_path("intel-rapl-mmio:0"));
    REQUIRE(found.refusals.size() == 1);
    CHECK(found.refusals[0].path == machine.energy_path("intel-rapl:0"));
  }
}

TEST_CASE("only wanted channels are opened, and the others are not refused either") {
  const Machine machine;
  machine.zone("intel-rapl:0", "package-0", "7");
  machine.zone("intel-rapl:0:0", "dram", "broken");
  const Found found = machine.find([](const ChannelInfo& info) { return info.name == "package-0"; });
  CHECK(look(found).size() == 1);
  CHECK(found.refusals.empty());
}

TEST_CASE("a file that cannot be used is refused and takes no other down") {
  struct Row {
    std::string energy;
    int error;
  };
  for (const Row& row : {Row{"", EBADMSG}, Row{"broken", EBADMSG}, Row{"-5", EBADMSG},
                         Row{"99999999999999999999", EBADMSG}, Row{"MISSING", ENOENT}, Row{"FOLDER", EISDIR}}) {
    CAPTURE(row.energy);
    const Machine machine;
    machine.zone("intel-rapl:0", "package-0", row.energy);
    machine.zone("intel-rapl:0:0", "dram", "3");
    const auto file = machine.tree.root() / machine.file("intel-rapl:0", "energy_uj");
    if (row.error != EBADMSG) fs::remove(file);
    if (row.error == EISDIR) fs::create_directory(file);

    const Found found = machine.find();

    CHECK(look(found).at("dram-0").reading.count == 3);
    CHECK(look(found).size() == 1);
    REQUIRE(found.refusals.size() == 1);
    CHECK(found.refusals[0].source == "rapl_powercap");
    CHECK(found.refusals[0].path == machine.energy_path("intel-rapl:0"));
    CHECK(found.refusals[0].error == row.error);
    CHECK_FALSE(found.refusals[0].reason.empty());
  }
}

TEST_CASE("zones with names that nobody knows are refused, not guessed") {
  const std::vector<std::string> names = {"package", "package-", "package-x", "package-0-die-", "gpu", "", "core"};
  for (const std::string& name : names) {
    CAPTURE(name);
    const Machine machine;
    machine.zone("intel-rapl:0", name, "1");
    const Found found = machine.find();
    CHECK(found.sources.empty());
    CHECK(found.refusals.size() == 1);
  }
}

TEST_CASE("reading goes to the open file each time and survives what it finds there") {
  const Machine machine;
  machine.zone("intel-rapl:0", "package-0", "100");
  const std::string file = machine.file("intel-rapl:0", "energy_uj");
  const Found found = machine.find();
  REQUIRE(found.sources.size() == 1);
  Source& source = *found.sources[0];
  Reading reading;

  machine.tree.write(file, "18446744073709551615");
  source.read({&reading, 1});
  CHECK(reading.count == UINT64_MAX);

  machine.tree.write(file, "12x");
  source.read({&reading, 1});
  CHECK(reading.status == ReadStatus::kRetry);
  CHECK(reading.error == EBADMSG);

  machine.tree.write(file, "101");
  source.read({&reading, 1});
  CHECK(reading.status == ReadStatus::kOk);
  CHECK(reading.error == 0);
  CHECK(reading.count == 101);
}

TEST_CASE("reading does not allocate") {
  const Machine machine;
  machine.zone("intel-rapl:0", "package-0", "100");
  machine.zone("intel-rapl:0:0", "dram", "200");
  const Found found = machine.find();
  REQUIRE(found.sources.size() == 1);
  machine.tree.write(machine.file("intel-rapl:0:0", "energy_uj"), "garbage");
  std::array<Reading, 2> out;
  const std::size_t before = allocations;
  CHECK(before > 0);
  for (int i = 0; i < 5; ++i) found.sources[0]->read(out);
  const std::size_t after = allocations;
  CHECK(after == before);
  CHECK(out[0].count == 100);
  CHECK(out[1].status == ReadStatus::kRetry);
}

TEST_CASE("an errno tells whether to try again, to end the series or to give up") {
  for (const int error : {EIO, EAGAIN, EINTR, EBUSY}) CHECK(powercap_status(error) == ReadStatus::kRetry);
  for (const int error : {ENODEV, ENXIO, ENOENT}) CHECK(powercap_status(error) == ReadStatus::kGone);
  for (const int error : {EBADF, EISDIR, EACCES}) CHECK(powercap_status(error) == ReadStatus::kFatal);
}

TEST_CASE("no zone at all has a reason") {
  const Machine machine;
  const auto only = [&] {
    const Found found = machine.find();
    CHECK(found.sources.empty());
    REQUIRE(found.refusals.size() == 1);
    return found.refusals[0];
  };
  const auto contains = [](const std::string& text, const std::string& part) {
    CAPTURE(text);
    CHECK(text.find(part) != std::string::npos);
  };
  SUBCASE("kernel without powercap") {
    contains(only().reason, "built without powercap");
    CHECK(only().error == ENOENT);
  }
  SUBCASE("driver not loaded") {
    fs::create_directories(machine.roots.sys / "class/powercap");
    contains(only().reason, "not loaded");
    CHECK(only().remedy == "sudo modprobe intel_rapl_msr");
  }
  SUBCASE("driver loaded in vain") {
    fs::create_directories(machine.roots.sys / "class/powercap/intel-rapl");
    fs::create_directories(machine.roots.sys / "module/intel_rapl_msr");
    contains(only().reason, "found no counter");
  }
  SUBCASE("virtual machine") {
    fs::create_directories(machine.roots.sys / "class/powercap");
    machine.cpu("GenuineIntel", 6, 0x55, "fpu hypervisor");
    contains(only().reason, "KVM answers RAPL reads with 0");
    contains(only().remedy, "rapl=true");
  }
  SUBCASE("another kind of processor") {
    machine.tree.write("proc/cpuinfo", "processor\t: 0\nCPU implementer\t: 0x41");
    contains(only().reason, "has no RAPL");
    CHECK(only().remedy.empty());
  }
  SUBCASE("hidden from a container: the links lead to an empty folder") {
    machine.zone("intel-rapl:0", "package-0", "1");
    fs::remove_all(machine.roots.sys / "devices/virtual/powercap/intel-rapl:0");
    contains(only().reason, "container");
    contains(only().remedy, "unmask=/sys/devices/virtual/powercap");
  }
}

TEST_CASE("without permission the refusal names the file, the errno and the least that helps") {
  const Machine machine;
  machine.zone("intel-rapl:0", "package-0", "7");
  fs::permissions(machine.tree.root() / machine.file("intel-rapl:0", "energy_uj"), fs::perms(0400));
  bool is_shut = false;
  SUBCASE("perf is open to the capability") { machine.tree.write("proc/sys/kernel/perf_event_paranoid", "2"); }
  SUBCASE("perf is shut as Debian shuts it") {
    machine.tree.write("proc/sys/kernel/perf_event_paranoid", "3");
    is_shut = true;
  }
  std::array<int, 2> pipe{};
  REQUIRE(::pipe(pipe.data()) == 0);

  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    // A mode does not stop root, so somebody else looks; whoever runs the test as a user loses the file first.
    if (::geteuid() == 0) {
      if (::setgroups(0, nullptr) != 0 || ::setgid(65534) != 0 || ::setuid(65534) != 0) ::_exit(2);
    } else {
      fs::permissions(machine.tree.root() / machine.file("intel-rapl:0", "energy_uj"), fs::perms(0));
    }
    std::string text;
    const Found found = machine.find();
    for (const Refusal& r : found.refusals) {
      text += r.path + "|" + r.reason + "|" + std::to_string(r.error) + "|" + r.remedy;
    }
    const bool is_written = ::write(pipe[1], text.data(), text.size()) == static_cast<ssize_t>(text.size());
    ::_exit(is_written && found.sources.empty() && found.refusals.size() == 1 ? 0 : 1);
  }
  ::close(pipe[1]);
  std::string text(8192, '\0');
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(::read(pipe[0], text.data(), text.size()), 0)));
  ::close(pipe[0]);
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CAPTURE(text);
  CHECK(status == 0);
  CHECK(text.starts_with(machine.energy_path("intel-rapl:0") + "|this user may not read the counter|" +
                         std::to_string(EACCES) + "|"));
  const auto perf = text.find("CAP_PERFMON");
  const auto group =
      text.find("chgrp $(id -gn) " + (machine.roots.sys / "class/powercap/intel-rapl*:*/energy_uj").string());
  REQUIRE(perf != std::string::npos);
  REQUIRE(group != std::string::npos);
  CHECK(perf < group);
  CHECK((text.find("perf_event_paranoid=2") != std::string::npos) == is_shut);
  CHECK(text.find("PLATYPUS") != std::string::npos);
}

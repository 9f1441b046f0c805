// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <array>
#include <cerrno>
#include <cmath>
#include <map>
#include <set>
#include <string>

#include "allocations.hpp"
#include "msr_tree.hpp"
#include "sources/rapl_msr.hpp"

using namespace powerprobe;

namespace {

constexpr std::uint64_t kEsu14 = 0xA0E03;
constexpr std::uint32_t kUnit = 0x606, kPackage = 0x611, kPowerInfo = 0x614, kDram = 0x619, kCore = 0x639,
                        kUncore = 0x641, kPsys = 0x64D;
constexpr std::uint32_t kAmdUnit = 0xC0010299;

constexpr int kSkylakeX = 0x55, kSkylake = 0x5E, kSapphireRapids = 0x8F, kIceLakeX = 0x6A, kGraniteRapids = 0xAD;

const Wanted kAll = [](const ChannelInfo&) { return true; };

struct Server : MsrTree {
  explicit Server(int model = kSkylakeX, const std::string& flags = "fpu") {
    set_processor("GenuineIntel", 6, model, flags);
  }
  void add_package(int cpu, int package, int die = 0, std::uint64_t count = 1000) {
    add_cpu(cpu, package, die, 0);
    set_register(cpu, kUnit, kEsu14);
    set_register(cpu, kPackage, count);
    set_register(cpu, 0x700, 1);  // the file goes on behind the last register
  }
};

Found find(const MsrTree& tree, const Wanted& wanted = kAll) {
  Found found;
  find_rapl_msr(tree.roots(), wanted, found);
  return found;
}

std::map<std::string, ChannelInfo> channels(const Found& found) {
  std::map<std::string, ChannelInfo> result;
  for (const auto& source : found.sources) {
    for (const auto& channel : source->channels()) {
      REQUIRE(result.emplace(channel.name, channel).second);
      CHECK(channel.source == "rapl_msr");
    }
  }
  return result;
}

std::map<std::string, Reading> read(const Found& found) {
  std::map<std::string, Reading> result;
  for (const auto& source : found.sources) {
    std::vector<Reading> readings(source->channels().size());
    source->read(readings);
    for (std::size_t i = 0; i < readings.size(); ++i) result[source->channels()[i].name] = readings[i];
  }
  return result;
}

std::set<std::string> names(const Found& found) {
  std::set<std::string> result;
  for (const auto& [name, channel] : channels(found)) result.insert(name);
  return result;
}

// The refusal whose reason or path holds `part`; fails where there is not exactly one.
Refusal refusal(const Found& found, const std::string& part) {
  Refusal result;
  int count = 0;
  for (const Refusal& r : found.refusals) {
    CHECK(r.source == "rapl_msr");
    CHECK_FALSE(r.reason.empty());
    if (r.reason.find(part) == std::string::npos && r.path.find(part) == std::string::npos) continue;
    result = r;
    ++count;
  }
  CAPTURE(part);
  CHECK(count == 1);
  return result;
}

}  // namespace

TEST_CASE("an Intel server: one source per package, each read on its first CPU, as the kernel numbers them") {
  Server server;
  server.add_package(0, 0, 0, 111);
  server.add_cpu(1, 2, 0, 0);  // interleaved, and package ids with a hole
  server.add_cpu(2, 0, 0, 1);
  server.set_register(1, kUnit, kEsu14);
  server.set_register(1, kPackage, 222);
  server.set_register(1, 0x700, 1);
  server.set_register(0, kDram, 333);
  server.set_register(1, kDram, 444);

  const Found found = find(server);

  REQUIRE(found.sources.size() == 2);
  const auto info = channels(found);
  CHECK(names(found) == std::set<std::string>{"package-0", "dram-0", "package-2", "dram-2"});
  CHECK(info.at("package-0").cpu == 0);
  CHECK(info.at("package-2").cpu == 1);
  CHECK(info.at("package-2").package == 2);
  CHECK(info.at("package-2").die == -1);
  CHECK(info.at("package-2").path == server.msr(1).string() + " register 0x611");
  CHECK(info.at("package-0").domain == "package");
  CHECK(info.at("package-0").provenance == Provenance::kMeasured);
  CHECK(info.at("package-0").joules_per_count == std::ldexp(1.0, -14));
  CHECK(info.at("dram-0").joules_per_count == std::ldexp(1.0, -16));
  CHECK(info.at("package-0").modulus == std::uint64_t{1} << 32);
  CHECK(info.at("package-0").update_period_ns == 1'000'000);
  CHECK(info.at("package-0").stale_ns == 20'000'000);
  CHECK(info.at("package-0").stamp_tick_ns == 0.0);
  const auto readings = read(found);
  CHECK(readings.at("package-0").count == 111);
  CHECK(readings.at("package-2").count == 222);
  CHECK(readings.at("dram-0").count == 333);
  CHECK(readings.at("dram-2").count == 444);
}

TEST_CASE("readings follow the registers, modulo 2^32 whatever the upper half holds") {
  Server server;
  server.add_package(0, 0);
  const Found found = find(server);
  REQUIRE(names(found) == std::set<std::string>{"package-0"});
  for (const std::uint64_t value : {0xFFFFFFFFull, 0x1'00000005ull, 0xABCDEF12'00000007ull, 0ull}) {
    server.set_register(0, kPackage, value);
    const Reading reading = read(found).at("package-0");
    CHECK(reading.status == ReadStatus::kOk);
    CHECK(reading.count == (value & 0xFFFFFFFF));
    CHECK(reading.stamp == 0);
  }
}

TEST_CASE("an Intel client has all five domains, each in its own register") {
  Server server(kSkylake);
  server.add_package(0, 0, 0, 1);
  server.set_register(0, kCore, 2);
  server.set_register(0, kUncore, 3);
  server.set_register(0, kDram, 4);
  server.set_register(0, kPsys, 0x99'00000005);
  const Found found = find(server);
  CHECK(found.sources.size() == 1);
  CHECK(found.refusals.empty());
  const auto readings = read(found);
  CHECK(readings.at("package-0").count == 1);
  CHECK(readings.at("core-0").count == 2);
  CHECK(readings.at("uncore-0").count == 3);
  CHECK(readings.at("dram-0").count == 4);
  CHECK(readings.at("psys").count == 5);
  const auto info = channels(found);
  CHECK(info.at("dram-0").joules_per_count == std::ldexp(1.0, -14));
  CHECK(info.at("psys").package == -1);
  CHECK(info.at("psys").stale_ns == 100'000'000);
}

TEST_CASE("Sapphire Rapids: a joule per count of the platform, which one package counts, not always the first") {
  Server server(kSapphireRapids);
  server.add_package(0, 0);
  server.add_package(8, 1);
  server.set_register(8, kPsys, 77);
  const Found found = find(server);
  const auto info = channels(found);
  REQUIRE(info.count("psys") == 1);
  CHECK(info.at("psys").joules_per_count == 1.0);
  CHECK(info.at("psys").cpu == 8);
  CHECK(info.at("psys").path == server.msr(8).string() + " register 0x64D");
  CHECK(info.at("package-0").update_period_ns == 1'500'000);
  for (const Refusal& r : found.refusals) CHECK(r.path.find("0x64D") == std::string::npos);
}

TEST_CASE("a platform register that no package counts in is told once") {
  Server server(kSapphireRapids);
  server.add_package(0, 0);
  server.add_package(8, 1);
  CHECK(refusal(find(server), "0x64D").reason.find("reads 0") != std::string::npos);
}

TEST_CASE("the platform is not added twice") {
  Server server(kSkylake);
  server.add_package(0, 0);
  server.add_package(8, 1);
  server.set_register(0, kPsys, 7);
  server.set_register(8, kPsys, 8);
  const Found found = find(server);
  CHECK(read(found).at("psys").count == 7);
  CHECK(refusal(found, "another package").path == server.msr(8).string() + " register 0x64D");
}

TEST_CASE("where a package has several dies each has its counter, except on servers of the TPMI generation") {
  for (const int model : {kSkylakeX, kGraniteRapids}) {
    Server server(model);
    server.add_package(0, 0, 0, 5);
    server.add_package(1, 0, 1, 6);
    const Found found = find(server);
    if (model == kGraniteRapids) {
      CHECK(names(found) == std::set<std::string>{"package-0"});
      continue;
    }
    CHECK(found.sources.size() == 2);
    CHECK(names(found) == std::set<std::string>{"package-0-die-0", "package-0-die-1"});
    CHECK(channels(found).at("package-0-die-1").die == 1);
    CHECK(read(found).at("package-0-die-1").count == 6);
  }
}

TEST_CASE("a domain whose register reads 0 is refused and the others stay") {
  Server server;
  server.add_package(0, 0);
  server.set_register(0, kDram, 4);
  const Found found = find(server);
  CHECK(names(found) == std::set<std::string>{"package-0", "dram-0"});
  const Refusal core = refusal(found, "0x639");
  CHECK(core.path == server.msr(0).string() + " register 0x639");
  CHECK(core.reason.find("reads 0") != std::string::npos);
}

TEST_CASE("the same story about the next package is not told again") {
  Server server;
  for (int package = 0; package < 4; ++package) server.add_package(package, package);
  const Found found = find(server);
  CHECK(found.sources.size() == 4);
  CHECK(found.refusals.size() == 2);  // core and dram
}

TEST_CASE("a register that cannot be read is absent") {
  Server server;
  server.add_cpu(0, 0, 0, 0);
  server.set_register(0, kUnit, kEsu14);
  server.set_register(0, kPackage, 7);  // the file ends here
  const Found found = find(server);
  CHECK(names(found) == std::set<std::string>{"package-0"});
  CHECK(refusal(found, "0x619").error == EIO);
}

TEST_CASE("a unit register of 0 means no RAPL, never 0 J") {
  for (const std::string flags : {"fpu", "fpu hypervisor sse"}) {
    Server server(kSkylakeX, flags);
    server.add_package(0, 0);
    server.set_register(0, kUnit, 0);
    const Found found = find(server);
    CHECK(found.sources.empty());
    const Refusal unit = refusal(found, "0x606");
    CHECK((unit.reason.find("KVM answers RAPL reads with 0") != std::string::npos) == (flags != "fpu"));
    CHECK(unit.remedy.empty() == (flags == "fpu"));
  }
}

TEST_CASE("an unlisted Intel model is refused by name, whatever its registers answer") {
  Server server(0xFE);
  server.add_package(0, 0);
  const Found found = find(server);
  CHECK(found.sources.empty());
  const Refusal unlisted = refusal(found, "family 6 model 254");
  CHECK(unlisted.path == (server.root() / "proc/cpuinfo").string());
  CHECK(unlisted.remedy.find("report") != std::string::npos);
}

TEST_CASE("other processors are refused with the reason") {
  const MsrTree arm;
  arm.write("proc/cpuinfo", "processor\t: 0\nCPU implementer\t: 0x41");
  CHECK(find(arm).sources.empty());
  refusal(find(arm), "Intel, AMD and Hygon");
  const MsrTree bulldozer;
  bulldozer.set_processor("AuthenticAMD", 0x15, 2);
  refusal(find(bulldozer), "family 21");
}

TEST_CASE("without topology nothing is guessed") {
  const Server server;
  server.set_register(0, kUnit, kEsu14);
  CHECK(find(server).sources.empty());
  refusal(find(server), "which CPUs are online");
}

TEST_CASE("a missing module is told once, with the command") {
  Server server;
  server.add_cpu(0, 0, 0, 0);
  server.add_cpu(1, 1, 0, 0);
  const Refusal missing = refusal(find(server), "module msr is not loaded");
  CHECK(missing.error == ENOENT);
  CHECK(missing.path == server.msr(0).string());
  CHECK(missing.remedy.find("sudo modprobe msr") == 0);
}

TEST_CASE("missing permission is told with what is missing, and msr-safe takes over where it may") {
  Server server;
  server.add_package(0, 0);
  server.write("proc/self/status", "CapEff:\t0000000000000000");
  std::filesystem::permissions(server.msr(0), std::filesystem::perms(0));
  {
    const AsNobody nobody;
    const Refusal denied = refusal(find(server), "no CAP_SYS_RAWIO");
    CHECK(denied.error == EACCES);
    CHECK(denied.remedy.find("chmod g+r " + (server.root() / "dev/cpu/*/msr").string()) != std::string::npos);
  }
  server.set_register(0, kUnit, kEsu14, "msr_safe");
  server.set_register(0, kPackage, 42, "msr_safe");
  {
    const AsNobody nobody;
    const Found found = find(server);
    CHECK(read(found).at("package-0").count == 42);
    CHECK(channels(found).at("package-0").path == server.msr(0, "msr_safe").string() + " register 0x611");
  }
  std::filesystem::permissions(server.msr(0, "msr_safe"), std::filesystem::perms(0));
  const AsNobody nobody;
  CHECK(refusal(find(server), "msr-safe").remedy.find("msr-user") != std::string::npos);
}

TEST_CASE("what is not wanted is not opened, not read and not told") {
  Server server;
  server.add_package(0, 0);
  server.add_cpu(1, 1, 0, 0);  // has no device
  const Found found = find(server, [](const ChannelInfo& channel) { return channel.name == "package-0"; });
  CHECK(names(found) == std::set<std::string>{"package-0"});
  CHECK(found.refusals.empty());
  CHECK(find(server, [](const ChannelInfo&) { return false; }).refusals.empty());
}

TEST_CASE("wanted is asked with everything that tells a channel from others") {
  Server server(kSkylake);
  server.add_package(0, 3);
  std::set<std::string> asked;
  find(server, [&](const ChannelInfo& channel) {
    CHECK(channel.source == "rapl_msr");
    CHECK(channel.path.find(server.msr(0).string()) == 0);
    CHECK(channel.package == (channel.domain == "psys" ? -1 : 3));
    asked.insert(channel.name);
    return true;
  });
  CHECK(asked == std::set<std::string>{"package-3", "core-3", "uncore-3", "dram-3", "psys"});
}

TEST_CASE("the most watts of package, core and uncore come from the power register") {
  Server server(kSkylake);
  server.add_package(0, 0, 0, 0x00000007);  // its upper bytes lie under the power register
  server.set_register(0, kPowerInfo, std::uint64_t{300 * 8});
  server.set_register(0, kPackage, 0);
  server.set_register(0, kPackage, 7 | std::uint64_t{300 * 8} << 24);
  server.set_register(0, kCore, 5);
  server.set_register(0, kPsys, 5);
  const auto info = channels(find(server));
  CHECK(info.at("package-0").max_watts == doctest::Approx(1200.0));
  CHECK(info.at("core-0").max_watts == doctest::Approx(1200.0));
  CHECK(info.at("psys").max_watts == doctest::Approx(10'000.0));
}

TEST_CASE("a file of Intel registers never passes for stamped, its 0x612 is a piece of 0x611") {
  Server server(kIceLakeX);
  server.add_package(0, 0, 0, 0x01010101);  // the same bytes shifted by one
  server.set_register(0, kPackage, 0x01010101'01010101);
  server.set_register(0, kDram, 0x01);
  const auto info = channels(find(server));
  CHECK(info.at("package-0").stamp_tick_ns == 0.0);
  CHECK(info.at("package-0").path == server.msr(0).string() + " register 0x611");
}

TEST_CASE("the energy filter is told, doubles the period of all but memory, and can be where the CPU says so only") {
  for (const bool has_controls : {false, true}) {
    for (const bool is_sgx : {false, true}) {
      CAPTURE(has_controls);
      CAPTURE(is_sgx);
      Server server(kIceLakeX, is_sgx ? "fpu sgx sse" : "fpu sgx_lc sse");
      server.add_package(0, 0);
      server.set_register(0, kDram, 4);
      server.set_register(0, 0x10A, has_controls ? 1U << 10 : 1U << 11);
      server.set_register(0, 0xBC, is_sgx ? 0 : 1);
      const Found found = find(server);
      const auto info = channels(found);
      CHECK(info.at("package-0").update_period_ns == (has_controls ? 3'000'000 : 1'000'000));
      CHECK(info.at("dram-0").update_period_ns == 1'000'000);
      CHECK(info.at("package-0").filtered == has_controls);
      CHECK_FALSE(info.at("dram-0").filtered);
      if (!has_controls) {
        CHECK(found.refusals.size() == 1);  // core
        continue;
      }
      const Refusal filter = refusal(found, "energy filter is on");
      CHECK(filter.path == server.msr(0).string() + " register 0xBC");
      CHECK(filter.reason.find("until reset") != std::string::npos);
    }
  }
  Server server(kIceLakeX, "fpu sgx_lc sse");  // another flag
  server.add_package(0, 0);
  server.set_register(0, 0x10A, 1U << 10);
  server.set_register(0, 0xBC, 0);
  CHECK(channels(find(server)).at("package-0").update_period_ns == 1'000'000);
}

namespace {

// AMD's unit, core and package registers overlap by all but a byte each in a file: bytes 3 to 6 from the unit register
// on are free, the rest is the unit.
struct Zen : MsrTree {
  Zen() { set_processor("AuthenticAMD", 0x19, 1); }
  void add_core(int cpu, int package, int die, int core, std::uint8_t own) {
    add_cpu(cpu, package, die, core);
    set(cpu, own);
  }
  void set(int cpu, std::uint8_t own) const {
    set_register(cpu, kAmdUnit, 0xA1003 | std::uint64_t{own} << 32);
    set_register(cpu, kAmdUnit + 8, 1);
  }
};

constexpr std::uint64_t core_count(std::uint8_t own) { return 0x0A10 | std::uint64_t{own} << 24; }
constexpr std::uint64_t package_count(std::uint8_t own) { return 0x0A | std::uint64_t{own} << 16; }

}  // namespace

TEST_CASE("AMD: a cheap source per package, and a second one with one channel for each core, read on one of its CPUs") {
  Zen zen;
  zen.add_core(0, 0, 0, 0, 1);
  zen.add_core(1, 0, 0, 3, 2);
  zen.add_core(2, 1, 0, 0, 3);
  zen.add_core(3, 1, 0, 3, 4);
  zen.add_core(4, 0, 0, 0, 5);  // siblings
  zen.add_core(5, 0, 0, 3, 6);

  const Found found = find(zen);

  CHECK(found.refusals.empty());
  REQUIRE(found.sources.size() == 4);
  CHECK(found.sources[0]->channels().size() == 1);
  CHECK(found.sources[1]->channels().size() == 1);
  CHECK(found.sources[2]->channels().size() == 2);
  const auto info = channels(found);
  CHECK(names(found) ==
        std::set<std::string>{"package-0", "package-1", "core-0-0", "core-0-3", "core-1-0", "core-1-3"});
  CHECK(info.at("core-0-3").domain == "core");
  CHECK(info.at("core-0-3").package == 0);
  CHECK(info.at("core-0-3").die == -1);
  CHECK(info.at("core-0-3").core == 3);
  CHECK(info.at("core-0-3").cpu == 1);
  CHECK(info.at("core-1-3").cpu == 3);
  CHECK(info.at("core-1-3").path == zen.msr(3).string() + " register 0xC001029A");
  CHECK(info.at("package-1").path == zen.msr(2).string() + " register 0xC001029B");
  CHECK(info.at("package-0").joules_per_count == std::ldexp(1.0, -16));
  CHECK(info.at("core-0-0").joules_per_count == std::ldexp(1.0, -16));
  const auto readings = read(found);
  CHECK(readings.at("package-0").count == package_count(1));
  CHECK(readings.at("package-1").count == package_count(3));
  CHECK(readings.at("core-0-0").count == core_count(1));
  CHECK(readings.at("core-0-3").count == core_count(2));
  CHECK(readings.at("core-1-3").count == core_count(4));
  zen.set(3, 9);
  CHECK(read(found).at("core-1-3").count == core_count(9));
}

TEST_CASE("AMD packages of several dies have one counter, and cores that are numbered anew on each die keep apart") {
  Zen zen;
  zen.add_core(0, 0, 0, 0, 1);
  zen.add_core(1, 0, 1, 0, 2);
  CHECK(names(find(zen)) == std::set<std::string>{"package-0", "core-0-0", "core-0-die-1-0"});
}

TEST_CASE("AMD cores alone can be wanted, and a core without a device does not keep the others away") {
  Zen zen;
  zen.add_core(0, 0, 0, 0, 1);
  zen.add_cpu(1, 0, 0, 1);
  zen.add_core(2, 0, 0, 2, 3);
  const Found found = find(zen, [](const ChannelInfo& channel) { return channel.core >= 0; });
  CHECK(names(found) == std::set<std::string>{"core-0-0", "core-0-2"});
  CHECK(refusal(found, zen.msr(1).string()).error == ENOENT);
}

TEST_CASE("a reading that fails says so and leaves the others") {
  Server server;
  server.add_package(0, 0);
  server.set_register(0, kDram, 4);
  const Found found = find(server);
  std::filesystem::resize_file(server.msr(0), kDram);
  const auto readings = read(found);
  CHECK(readings.at("package-0").status == ReadStatus::kOk);
  CHECK(readings.at("dram-0").status == ReadStatus::kRetry);
  CHECK(readings.at("dram-0").error == EIO);
  server.set_register(0, kDram, 5);
  CHECK(read(found).at("dram-0").status == ReadStatus::kOk);
  CHECK(read(found).at("dram-0").error == 0);
}

TEST_CASE("an errno tells whether to try again, to end the series or to give up") {
  CHECK(msr_status(0) == ReadStatus::kOk);
  for (const int error : {EIO, EINTR, EAGAIN}) CHECK(msr_status(error) == ReadStatus::kRetry);
  for (const int error : {ENXIO, ENODEV}) CHECK(msr_status(error) == ReadStatus::kGone);
  for (const int error : {EACCES, EPERM, EBADF}) CHECK(msr_status(error) == ReadStatus::kFatal);
}

TEST_CASE("reading does not allocate") {
  Server server;
  server.add_package(0, 0);
  server.set_register(0, kDram, 4);
  const Found found = find(server);
  REQUIRE(found.sources.size() == 1);
  std::filesystem::resize_file(server.msr(0), kDram);
  std::array<Reading, 2> out;
  const std::size_t before = allocations;
  CHECK(before > 0);
  for (int i = 0; i < 5; ++i) found.sources[0]->read(out);
  const std::size_t after = allocations;
  CHECK(after == before);
  CHECK(out[0].count == 1000);
  CHECK(out[1].error == EIO);
}

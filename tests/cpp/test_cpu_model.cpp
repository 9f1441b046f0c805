// SPDX-License-Identifier: MIT
#include "sources/cpu_model.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

#include "allocations.hpp"
#include "core/clock.hpp"
#include "tree.hpp"

using namespace powerprobe;

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kTick = 10'000'000;

// A /proc of the test's own: an EPYC 3rd Gen with two CPUs.
struct Machine {
  Tree tree;
  Roots roots{tree.root() / "sys", tree.root() / "dev", tree.root()};

  explicit Machine(const std::string& vendor = "AuthenticAMD") {
    tree.write("cpuinfo", "vendor_id\t: " + vendor + "\ncpu family\t: 25\nmodel\t\t: 1\nstepping\t: 1\n");
    stat(1000);
  }

  void stat(std::uint64_t user) const {
    tree.write("stat", "cpu  " + std::to_string(user) + " 1 2 50000 60 3 4 500 0 0\ncpu0 1 0 0 1 1 0 0 0 0 0\n" +
                           "cpu1 1 0 0 1 1 0 0 0 0 0\nintr 1 2 3\nctxt 5\nbtime 1700000000\nprocesses 7");
  }

  [[nodiscard]] Found find() const {
    Found found;
    find_cpu_model(
        roots, [](const ChannelInfo&) { return true; }, found);
    return found;
  }
};

Reading read_one(Source& source) {
  Reading reading;
  source.read({&reading, 1});
  return reading;
}

// The count between two moments on either side of each reading: microjoules that so many watts give at least and at
// most.
struct Between {
  double least;
  double most;
  std::uint64_t count;
};

Between read_apart(Source& source, std::int64_t sleep_ns) {
  const std::int64_t begin_before = now_ns();
  const std::uint64_t begin = read_one(source).count;
  const std::int64_t begin_after = now_ns();
  std::this_thread::sleep_for(std::chrono::nanoseconds(sleep_ns));
  const std::int64_t end_before = now_ns();
  const std::uint64_t end = read_one(source).count;
  const std::int64_t end_after = now_ns();
  return {static_cast<double>(end_before - begin_after) * 1e-3, static_cast<double>(end_after - begin_before) * 1e-3,
          end - begin};
}

}  // namespace

TEST_CASE("busy are user, nice, system, irq and softirq") {
  CHECK(parse_busy_ticks("cpu  10000 2000 300 7000000 800000 40 5 90000000 11 12\n") == 12345u);
  CHECK(parse_busy_ticks("cpu  1 2 3 4 5 6 7\ncpu0 100 0 0 0 0 0 0\n") == 19u);
  for (const std::string bad :
       {"", "\n", "cpu", "cpu  \n", "cpu  1 2 3 4 5 6\n", "cpu  1 2 3 4 5 6 7", "cpu0 1 2 3 4 5 6 7\n",
        "cpu  1 2 x 4 5 6 7\n", "cpu  1 2 -3 4 5 6 7\n", "intr 1 2 3 4 5 6 7\n"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_busy_ticks(bad).has_value());
  }
}

TEST_CASE("every CPU takes its idle watts, and the rest of its busy watts while it works") {
  CpuIntegral integral(0.5, 2.0, 4, kTick);
  CHECK(integral.add(7 * kSecond, 12345) == 0);
  CHECK(integral.add(8 * kSecond, 12345) == 2'000'000);              // 4 x 0.5 W x 1 s
  CHECK(integral.add(9 * kSecond, 12345 + 100) == 5'500'000);        // 2 J more, and 1 CPU second x 1.5 W
  CHECK(integral.add(10 * kSecond, 12345 + 500) == 13'500'000);      // all four busy: 4 x 2 W x 1 s
  CHECK(integral.add(10 * kSecond + 1, 12345 + 500) == 13'500'000);  // 2 nJ
}

TEST_CASE("CPU time that comes in ticks is worked off no faster than the CPUs can") {
  CpuIntegral integral(0.5, 2.0, 2, kTick);
  integral.add(0, 0);
  // Two ticks (20 ms of CPU time) show up within 2 ms: 4 ms of them fit in, ...
  CHECK(integral.add(2'000'000, 2) == 2000 + 6000);
  // ... the rest in the 8 ms that follow, and nothing after that.
  CHECK(integral.add(10'000'000, 2) == 10000 + 30000);
  CHECK(integral.add(20'000'000, 2) == 20000 + 30000);
}

TEST_CASE("the estimate never falls, whatever the kernel shows") {
  CpuIntegral integral(0.5, 2.0, 2, kTick);
  integral.add(0, 1000);
  const std::uint64_t before = integral.add(kSecond, 1100);
  CHECK(integral.add(kSecond, 900) == before);
  CHECK(integral.add(kSecond - 5, 900) == before);
  CHECK(integral.add(2 * kSecond, 1000) == before + 2 * 500'000 + 1'500'000);
}

TEST_CASE("years of CPU time on a large machine do not run over") {
  CpuIntegral integral(0.5, 2.0, 1024, kTick);
  integral.add(0, 0);
  const std::int64_t year_ns = 365LL * 86400 * kSecond;
  std::uint64_t count = 0;
  for (int year = 1; year <= 5; ++year) {
    count = integral.add(year * year_ns, static_cast<std::uint64_t>(year) * 1024 * 365 * 86400 * 100);
  }
  CHECK(static_cast<double>(count) == doctest::Approx(2.0 * 1024 * 5 * 365 * 86400 * 1e6).epsilon(1e-9));
}

TEST_CASE("the channel says that it is an estimate, of what, within what and whose figures") {
  const Machine machine;
  const Found found = machine.find();
  REQUIRE(found.sources.size() == 1);
  const ChannelInfo& info = found.sources[0]->channels().at(0);
  CHECK(found.sources[0]->channels().size() == 1);
  CHECK(info.name == "cpu");
  CHECK(info.domain == "cpu");
  CHECK(info.source == "cpu_model");
  CHECK(info.provenance == Provenance::kEstimated);
  CHECK(info.modulus == 0);
  CHECK(info.joules_per_count == 1e-6);
  CHECK(info.low_watts == doctest::Approx(2 * 0.4556));
  CHECK(info.high_watts == doctest::Approx(2 * 1.9573));
  CHECK(info.update_period_ns == 1'000'000'000 / ::sysconf(_SC_CLK_TCK));
  CHECK(info.stale_ns >= info.update_period_ns);
  for (const char* part : {"2 CPUs x 0.4556 W", "1.502 W", "EPYC 3rd Gen", "Apache-2.0", "/proc/stat", "1.957"}) {
    CAPTURE(info.formula);
    CHECK(info.formula.find(part) != std::string::npos);
  }
}

TEST_CASE("an unknown processor is estimated within all that was published, and the formula says so") {
  for (const std::string vendor : {"GenuineIntel", ""}) {
    CAPTURE(vendor);
    const Machine machine(vendor);
    if (vendor.empty()) machine.tree.write("cpuinfo", "processor\t: 0\nCPU implementer\t: 0x41");
    const Found found = machine.find();
    REQUIRE(found.sources.size() == 1);
    const ChannelInfo& info = found.sources[0]->channels().at(0);
    CHECK(info.low_watts == doctest::Approx(2 * 0.4556));
    CHECK(info.high_watts == doctest::Approx(2 * 8.6309));
    CHECK(info.formula.find("no figures are published for this processor") != std::string::npos);
    CHECK(info.formula.find("medians of 15") != std::string::npos);
    CHECK(info.formula.find(vendor.empty() ? "not x86" : "GenuineIntel family 25 model 1") != std::string::npos);
  }
}

TEST_CASE("an idle machine takes the least and one that has more to do than CPUs the most") {
  const Machine machine;
  const Found found = machine.find();
  REQUIRE(found.sources.size() == 1);
  Source& source = *found.sources[0];
  CHECK(read_one(source).count == 0);

  const Between idle = read_apart(source, 20'000'000);
  CHECK(static_cast<double>(idle.count) >= idle.least * 2 * 0.4556 - 1.0);
  CHECK(static_cast<double>(idle.count) <= idle.most * 2 * 0.4556 + 1.0);

  machine.stat(1'000'000);
  (void)read_one(source);
  const Between busy = read_apart(source, 20'000'000);
  CHECK(static_cast<double>(busy.count) >= busy.least * 2 * 1.9573 - 1.0);
  CHECK(static_cast<double>(busy.count) <= busy.most * 2 * 1.9573 + 1.0);
}

TEST_CASE("a text that is not the kernel's is a reading that failed, and the next one is right again") {
  const Machine machine;
  const Found found = machine.find();
  REQUIRE(found.sources.size() == 1);
  const std::uint64_t before = read_one(*found.sources[0]).count;
  machine.tree.write("stat", "cpu  garbage");
  const Reading reading = read_one(*found.sources[0]);
  CHECK(reading.status == ReadStatus::kRetry);
  CHECK(reading.error == EBADMSG);
  machine.stat(1000);
  CHECK(read_one(*found.sources[0]).status == ReadStatus::kOk);
  CHECK(read_one(*found.sources[0]).count >= before);
}

TEST_CASE("without CPU times there is a refusal and no estimate") {
  const Machine machine;
  int error = EBADMSG;
  SUBCASE("garbage") { machine.tree.write("stat", "garbage"); }
  SUBCASE("empty") { machine.tree.write("stat", ""); }
  SUBCASE("missing") {
    std::filesystem::remove(machine.tree.root() / "stat");
    error = ENOENT;
  }
  const Found found = machine.find();
  CHECK(found.sources.empty());
  REQUIRE(found.refusals.size() == 1);
  CHECK(found.refusals[0].source == "cpu_model");
  CHECK(found.refusals[0].path == (machine.tree.root() / "stat").string());
  CHECK(found.refusals[0].error == error);
  CHECK(found.refusals[0].remedy.empty() == (error != ENOENT));
}

TEST_CASE("what is not wanted is not opened") {
  const Machine machine;
  Found found;
  find_cpu_model(
      machine.roots, [](const ChannelInfo& info) { return info.name != "cpu"; }, found);
  CHECK(found.sources.empty());
  CHECK(found.refusals.empty());
}

TEST_CASE("reading does not allocate") {
  const Machine machine;
  const Found found = machine.find();
  REQUIRE(found.sources.size() == 1);
  const std::size_t before = allocations;
  CHECK(before > 0);
  for (int i = 0; i < 5; ++i) (void)read_one(*found.sources[0]);
  const std::size_t after = allocations;
  CHECK(after == before);
}

TEST_CASE("this machine: its own /proc/stat is understood and a busy while lies within the bounds") {
  Found found;
  find_cpu_model(
      Roots{}, [](const ChannelInfo&) { return true; }, found);
  REQUIRE(found.sources.size() == 1);
  Source& source = *found.sources[0];
  const ChannelInfo& info = source.channels().at(0);
  CHECK(info.high_watts > info.low_watts);
  const std::int64_t before_ns = now_ns();
  const Reading begin = read_one(source);
  const std::int64_t begin_ns = now_ns();
  while (now_ns() - begin_ns < 60'000'000) (void)read_one(source);
  const std::int64_t end_ns = now_ns();
  const Reading end = read_one(source);
  const std::int64_t after_ns = now_ns();
  REQUIRE(begin.status == ReadStatus::kOk);
  REQUIRE(end.status == ReadStatus::kOk);
  const double joules = static_cast<double>(end.count - begin.count) * info.joules_per_count;
  CHECK(joules >= info.low_watts * static_cast<double>(end_ns - begin_ns) * 1e-9 - 1e-6);
  CHECK(joules <= info.high_watts * static_cast<double>(after_ns - before_ns) * 1e-9 + 1e-6);
}

TEST_CASE("a command has the share of CPUs busy for as long as it used them") {
  const CommandEnergy energy = command_energy({"", 0.5, 2.0, 0.25, 8.0}, 10.0);
  CHECK(energy.joules == 20.0);
  CHECK(energy.lower == 2.5);
  CHECK(energy.upper == 80.0);
  CHECK(command_energy(cpu_coefficients({}), 0.0).upper == 0.0);
}

// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "one_watt.hpp"
#include "sources/rapl_perf.hpp"

using namespace powerprobe;
using one_watt::kSmi;
using one_watt::kTsc;

namespace {

#define SKIP_IF(missing)                 \
  if (const auto reason = missing) {     \
    MESSAGE("skipped: " << *reason);     \
    return;                              \
  }
#define SKIP_WITHOUT_MSR_PMU() SKIP_IF(one_watt::missing())

constexpr double kRaplScale = 1.0 / 4294967296.0;

bool everything(const ChannelInfo&) { return true; }

// A server with a `power` PMU and two CPUs, of one package until told otherwise.
struct Server : one_watt::Tree {
  explicit Server(std::uint32_t type = one_watt::msr_type(), const std::string& cpumask = "0") {
    write("proc/cpuinfo", "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu msr tsc");
    write("proc/sys/kernel/perf_event_paranoid", "2");
    write("proc/self/status", "CapEff:\t0000000000000000");
    write("proc/self/uid_map", "0 0 4294967295");
    write("sys/devices/system/cpu/online", "0-1");
    cpu(0, 0, 0, 0);
    cpu(1, 0, 0, 1);
    pmu("power", type, cpumask);
  }
  void vendor(const std::string& text, const std::string& flags = "fpu") const {
    write("proc/cpuinfo", "processor\t: 0\nvendor_id\t: " + text + "\nflags\t\t: " + flags);
  }
  void power(const std::string& name, const std::string& config = kTsc, double scale = kRaplScale) const {
    event("power", name, config, scale);
  }
  [[nodiscard]] Found find(const Wanted& wanted = everything) const {
    Found found;
    find_rapl_perf(roots(), wanted, found);
    return found;
  }
  // What would be opened, without opening it.
  [[nodiscard]] std::map<std::string, ChannelInfo> described() const {
    std::map<std::string, ChannelInfo> infos;
    const Found found = find([&](const ChannelInfo& info) {
      CHECK((infos.count(info.name) == 0 || info.domain == "psys"));
      infos[info.name] = info;
      return false;
    });
    CHECK(found.sources.empty());
    return infos;
  }
};

std::vector<std::string> names(const std::map<std::string, ChannelInfo>& infos) {
  std::vector<std::string> result;
  for (const auto& [name, info] : infos) result.push_back(name);
  return result;
}

std::vector<std::string> names(const Found& found) {
  std::vector<std::string> result;
  for (const auto& source : found.sources) {
    for (const auto& info : source->channels()) result.push_back(info.name);
  }
  return result;
}

const ChannelInfo& channel(const Found& found, const std::string& name) {
  for (const auto& source : found.sources) {
    for (const auto& info : source->channels()) {
      if (info.name == name) return info;
    }
  }
  throw std::runtime_error("no channel " + name);
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

using Names = std::vector<std::string>;

}  // namespace

// ---- what there is: any machine can ask --------------------------------------------------------------------------

TEST_CASE("a missing PMU is refused with the reason that this machine has") {
  Server tree;
  tree.remove(tree.devices() + "power");
  auto refusals = tree.find().refusals;
  REQUIRE(refusals.size() == 1);
  CHECK(refusals[0].source == "rapl_perf");
  CHECK(refusals[0].path == tree.path(tree.devices() + "power"));
  CHECK(contains(refusals[0].reason, "module is not loaded"));
  CHECK(refusals[0].remedy.starts_with("sudo modprobe rapl"));

  tree.vendor("GenuineIntel", "fpu msr hypervisor tsc");
  refusals = tree.find().refusals;
  CHECK(contains(refusals[0].reason, "KVM answers RAPL reads with 0"));
  CHECK(contains(refusals[0].remedy, "on the host"));

  tree.write("proc/cpuinfo", "CPU implementer\t: 0x41");
  refusals = tree.find().refusals;
  CHECK(contains(refusals[0].reason, "only processors of Intel, AMD and Hygon"));
  CHECK(refusals[0].remedy.empty());

  tree.remove("sys/bus");
  refusals = tree.find().refusals;
  REQUIRE(refusals.size() == 1);
  CHECK(contains(refusals[0].reason, "/sys is not mounted"));
}

TEST_CASE("a PMU without events means registers that read 0") {
  const Server tree;
  tree.vendor("GenuineIntel", "fpu hypervisor");
  const Found found = tree.find();
  CHECK(found.sources.empty());
  REQUIRE(found.refusals.size() == 1);
  CHECK(contains(found.refusals[0].reason, "no events"));
  CHECK(contains(found.refusals[0].reason, "virtual machine"));
}

TEST_CASE("garbage refuses what it describes and no more, and names its file") {
  struct Case {
    const char* file;
    const char* garbage;
    Names left;
  };
  for (const Case& one :
       {Case{"type", "x", {}}, Case{"cpumask", "x", {}}, Case{"format/event", "x", {}},
        Case{"events/energy-ram", "x", {"package-0"}}, Case{"events/energy-ram.scale", "-1", {"package-0"}},
        Case{"events/energy-ram.unit", "Watts", {"package-0"}},
        Case{"events/energy-what", "event=0x01", {"dram-0", "package-0"}}}) {
    const Server tree(13);
    tree.power("energy-pkg");
    tree.power("energy-ram");
    REQUIRE(names(tree.described()) == Names{"dram-0", "package-0"});
    tree.write(tree.devices() + "power/" + one.file, one.garbage);

    CAPTURE(one.file);
    CHECK(names(tree.described()) == one.left);
    const auto refusals = tree.find([](const ChannelInfo&) { return false; }).refusals;
    REQUIRE_FALSE(refusals.empty());
    CHECK(refusals[0].path == tree.path(tree.devices() + "power/" + one.file));
    CHECK(contains(refusals[0].reason, one.garbage == std::string("event=0x01") ? "energy-what" : one.garbage));
  }
}

TEST_CASE("a CPU of the cpumask that is not online is refused, the others stay") {
  const Server tree(13, "0,7");
  tree.power("energy-pkg");
  CHECK(names(tree.described()) == Names{"package-0"});
  const auto refusals = tree.find([](const ChannelInfo&) { return false; }).refusals;
  REQUIRE(refusals.size() == 1);
  CHECK(contains(refusals[0].reason, "CPU 7"));
  CHECK(contains(refusals[0].path, "cpumask"));
}

TEST_CASE("perf's domains have our names, and everything that is known about them") {
  const Server tree(13);
  for (const char* name : {"energy-pkg", "energy-cores", "energy-gpu", "energy-ram", "energy-psys"}) tree.power(name);

  const auto infos = tree.described();

  REQUIRE(names(infos) == Names{"core-0", "dram-0", "package-0", "psys", "uncore-0"});
  const ChannelInfo& package = infos.at("package-0");
  CHECK(package.source == "rapl_perf");
  CHECK(package.domain == "package");
  CHECK(package.path == "power/energy-pkg/ on CPU 0");
  CHECK(package.package == 0);
  CHECK(package.die == -1);
  CHECK(package.core == -1);
  CHECK(package.provenance == Provenance::kMeasured);
  CHECK(package.joules_per_count == kRaplScale);
  CHECK(package.update_period_ns == 1'000'000);
  CHECK(package.stale_ns == 20'000'000);
  CHECK(package.max_watts == 10'000.0);
  CHECK(package.cpu == 0);
  CHECK(infos.at("psys").package == -1);
  CHECK(infos.at("psys").stale_ns == 100'000'000);
}

TEST_CASE("packages are the kernel's, and dies are named only where they have counters of their own") {
  const Server tree(13, "0-1");
  tree.power("energy-pkg");
  tree.cpu(1, 3, 0, 0);
  auto infos = tree.described();
  REQUIRE(names(infos) == Names{"package-0", "package-3"});
  CHECK(infos.at("package-3").cpu == 1);

  tree.cpu(1, 0, 1, 0);
  infos = tree.described();
  REQUIRE(names(infos) == Names{"package-0-die-0", "package-0-die-1"});
  CHECK(infos.at("package-0-die-1").die == 1);

  // One counter for a package of several dies.
  tree.write(tree.devices() + "power/cpumask", "1");
  CHECK(names(tree.described()) == Names{"package-0"});
}

TEST_CASE("AMD has one counter per package, however many dies list it") {
  const Server tree(13, "0-1");
  tree.power("energy-pkg");
  tree.cpu(1, 0, 1, 0);
  for (const char* vendor : {"AuthenticAMD", "HygonGenuine"}) {
    tree.vendor(vendor);
    CHECK(names(tree.described()) == Names{"package-0"});
  }
}

TEST_CASE("single cores have the kernel's number, and are told apart where it repeats inside the package") {
  const Server tree(13);
  tree.vendor("AuthenticAMD");
  tree.power("energy-pkg");
  tree.pmu("power_core", 14, "0-1");
  tree.event("power_core", "energy-core", "event=0x01", kRaplScale);
  tree.cpu(1, 0, 1, 12);
  auto infos = tree.described();
  REQUIRE(names(infos) == Names{"core-0-0", "core-0-12", "package-0"});
  CHECK(infos.at("core-0-12").core == 12);
  CHECK(infos.at("core-0-12").cpu == 1);
  CHECK(infos.at("core-0-12").path == "power_core/energy-core/ on CPU 1");

  tree.cpu(1, 0, 1, 0);
  CHECK(names(tree.described()) == Names{"core-0-0", "core-0-die-1-0", "package-0"});
  // Three cores of one die with the same number.
  tree.write("sys/devices/system/cpu/online", "0-2");
  tree.write(tree.devices() + "power_core/cpumask", "0-2");
  tree.cpu(1, 0, 0, 0);
  tree.cpu(2, 0, 0, 0);
  CHECK(names(tree.described()) == Names{"core-0-0", "core-0-die-0-0", "core-0-die-0-2", "package-0"});
  tree.write(tree.devices() + "power_core/cpumask", "0-1");
  // Equal numbers in different packages are no repetition.
  tree.cpu(1, 1, 0, 0);
  CHECK(names(tree.described()) == Names{"core-0-0", "core-1-0", "package-0"});
}

TEST_CASE("the platform's counter is looked for in every package, since only one of them counts") {
  const Server tree(13, "0-1");
  tree.cpu(1, 1, 0, 0);
  tree.power("energy-psys");
  std::vector<int> cpus;
  const Found found = tree.find([&](const ChannelInfo& info) {
    CHECK(info.name == "psys");
    cpus.push_back(info.cpu);
    return false;
  });
  CHECK(found.sources.empty());
  CHECK(cpus == std::vector<int>{0, 1});
}

TEST_CASE("a channel whose event cannot be opened is not a channel") {
  RaplPerf source;
  CHECK(source.add(ChannelInfo{}, {0x7fffffff, 0, 0}) != 0);
  CHECK(source.channels().empty());
  source.read({});
}

TEST_CASE("the kernel's refusal is told once, with the errno") {
  Server tree(0x7fffffff);  // a PMU that no kernel has
  tree.power("energy-pkg");
  tree.power("energy-ram");
  const Found found = tree.find();
  CHECK(found.sources.empty());
  REQUIRE(found.refusals.size() == 1);
  // An unprivileged process gets no further than EACCES.
  CHECK((found.refusals[0].error == ENOENT || found.refusals[0].error == EACCES || found.refusals[0].error == EPERM ||
         found.refusals[0].error == ENOSYS));
  CHECK_FALSE(found.refusals[0].reason.empty());
}

// ---- the one-watt reference: real perf events --------------------------------------------------------------------

namespace {

struct Span {
  std::int64_t before_ns = 0;
  std::int64_t after_ns = 0;
  std::vector<Reading> readings;
};

// One reading between two clocks, the narrowest of some.
Span read_between_clocks(Source& source) {
  Span best;
  for (int i = 0; i < 20; ++i) {
    Span span;
    span.readings.resize(source.channels().size());
    span.before_ns = one_watt::raw_clock_ns();
    source.read(span.readings);
    span.after_ns = one_watt::raw_clock_ns();
    if (i == 0 || span.after_ns - span.before_ns < best.after_ns - best.before_ns) best = span;
  }
  return best;
}

// Each channel gains a joule per second, to 0.1 % and as far as the clocks tell.
void check_one_watt(Source& source) {
  const Span begin = read_between_clocks(source);
  ::usleep(300'000);
  const Span end = read_between_clocks(source);
  const double longest = static_cast<double>(end.after_ns - begin.before_ns) * 1e-9;
  const double shortest = static_cast<double>(end.before_ns - begin.after_ns) * 1e-9;
  REQUIRE(shortest > 0.2);
  for (std::size_t i = 0; i < source.channels().size(); ++i) {
    const ChannelInfo& info = source.channels()[i];
    CAPTURE(info.name);
    REQUIRE(begin.readings[i].status == ReadStatus::kOk);
    REQUIRE(end.readings[i].status == ReadStatus::kOk);
    const double joules = static_cast<double>(end.readings[i].count - begin.readings[i].count) * info.joules_per_count;
    CHECK(joules >= shortest * 0.999);
    CHECK(joules <= longest * 1.001);
    MESSAGE(info.name << ": " << joules << " J in " << shortest << " to " << longest << " s");
  }
}

double one_watt_scale() {
  static const double kScale = 1.0 / one_watt::tsc_hz();
  return kScale;
}

std::size_t system_calls(const Source& source) { return dynamic_cast<const RaplPerf&>(source).system_calls(); }

}  // namespace

TEST_CASE("a second is a joule: a single event") {
  SKIP_WITHOUT_MSR_PMU();
  const Server tree;
  tree.power("energy-pkg", kTsc, one_watt_scale());
  const Found found = tree.find();
  CHECK(found.refusals.empty());
  REQUIRE(names(found) == Names{"package-0"});
  CHECK(system_calls(*found.sources[0]) == 1);
  check_one_watt(*found.sources[0]);
}

TEST_CASE("a second is a joule: all domains of a package in one system call") {
  SKIP_WITHOUT_MSR_PMU();
  const Server tree;
  for (const char* name : {"energy-pkg", "energy-cores", "energy-gpu", "energy-ram", "energy-psys"}) {
    tree.power(name, kTsc, one_watt_scale());
  }
  const Found found = tree.find();
  CHECK(found.refusals.empty());
  REQUIRE(found.sources.size() == 1);
  CHECK(names(found).size() == 5);
  CHECK(system_calls(*found.sources[0]) == 1);
  check_one_watt(*found.sources[0]);
}

TEST_CASE("a second is a joule: two packages are two sources, single cores are read one by one") {
  SKIP_WITHOUT_MSR_PMU();
  if (::sysconf(_SC_NPROCESSORS_ONLN) < 2) {
    MESSAGE("skipped: this machine has one CPU");
    return;
  }
  const Server tree(one_watt::msr_type(), "0-1");
  tree.cpu(1, 1, 0, 0);
  tree.power("energy-pkg", kTsc, one_watt_scale());
  tree.power("energy-ram", kTsc, one_watt_scale());
  Found found = tree.find();
  REQUIRE(found.sources.size() == 2);
  CHECK(names(found) == Names{"package-0", "dram-0", "package-1", "dram-1"});
  for (const auto& source : found.sources) {
    CHECK(system_calls(*source) == 1);
    check_one_watt(*source);
  }

  tree.cpu(1, 0, 0, 1);
  tree.write(tree.devices() + "power/cpumask", "0");
  tree.pmu("power_core", one_watt::msr_type(), "0-1");
  tree.event("power_core", "energy-core", kTsc, one_watt_scale());
  found = tree.find();
  REQUIRE(found.sources.size() == 2);
  CHECK(names(found) == Names{"package-0", "dram-0", "core-0-0", "core-0-1"});
  CHECK(system_calls(*found.sources[1]) == 2);
  check_one_watt(*found.sources[1]);
}

TEST_CASE("only what is wanted is opened") {
  SKIP_WITHOUT_MSR_PMU();
  const Server tree;
  tree.power("energy-pkg", kTsc, one_watt_scale());
  tree.power("energy-ram", kTsc, one_watt_scale());
  const Found found = tree.find([](const ChannelInfo& info) { return info.domain == "dram"; });
  CHECK(names(found) == Names{"dram-0"});
  CHECK(found.refusals.empty());
}

TEST_CASE("an event that the kernel refuses does not take the others down") {
  SKIP_WITHOUT_MSR_PMU();
  const Server tree;
  tree.power("energy-pkg", kTsc, one_watt_scale());
  tree.power("energy-ram", "event=0xee", one_watt_scale());
  const Found found = tree.find();
  CHECK(names(found) == Names{"package-0"});
  REQUIRE(found.refusals.size() == 1);
  CHECK(found.refusals[0].path == "power/energy-ram/ on CPU 0");
  CHECK(found.refusals[0].error == EINVAL);
}

TEST_CASE("a platform counter that stands still is refused, and of several the one that moves is taken") {
  SKIP_IF(one_watt::missing_smi());
  const Server tree;
  tree.power("energy-pkg", kTsc, one_watt_scale());
  tree.power("energy-psys", kSmi, one_watt_scale());
  const std::int64_t begin_ns = one_watt::raw_clock_ns();
  Found found = tree.find();
  CHECK(one_watt::raw_clock_ns() - begin_ns >= 99'000'000);  // as long as a living one may need to move
  CHECK(names(found) == Names{"package-0"});
  REQUIRE(found.refusals.size() == 1);
  CHECK(contains(found.refusals[0].reason, "stands still"));
  CHECK(found.refusals[0].path == "power/energy-psys/ on CPU 0");

  if (::sysconf(_SC_NPROCESSORS_ONLN) < 2) {
    MESSAGE("skipped: this machine has one CPU");
    return;
  }
  tree.write(tree.devices() + "power/cpumask", "0-1");
  tree.cpu(1, 1, 0, 0);
  tree.power("energy-psys", kTsc, one_watt_scale());
  found = tree.find();
  CHECK(found.refusals.empty());
  const Names all = names(found);
  CHECK(std::count(all.begin(), all.end(), "psys") == 1);
}

TEST_CASE("a count without a hardware unit has no modulus; one that stands still takes over its package's") {
  SKIP_IF(one_watt::missing_smi());
  const Server tree;
  tree.power("energy-pkg", kTsc, one_watt_scale());
  CHECK(channel(tree.find(), "package-0").modulus == 0);

  // So coarse that a few ticks of the TSC could be RAPL's unit.
  constexpr double kCoarse = 1e-3;
  for (const char* name : {"energy-pkg", "energy-psys"}) tree.power(name, kTsc, kCoarse);
  for (const char* name : {"energy-cores", "energy-gpu", "energy-ram"}) tree.power(name, kSmi, kCoarse);
  const Found found = tree.find();
  const std::uint64_t modulus = channel(found, "package-0").modulus;
  CHECK(modulus != 0);
  CHECK(modulus % (std::uint64_t{1} << 32) == 0);
  CHECK(channel(found, "core-0").modulus == modulus);
  CHECK(channel(found, "uncore-0").modulus == modulus);
  CHECK(channel(found, "dram-0").modulus == 0);  // may have a unit of its own
  // The step of the hardware goes into the bounds: what was seen, or the coarsest that there is.
  const double unit = static_cast<double>(modulus >> 32) * kCoarse;
  CHECK(channel(found, "package-0").quantum_joules == doctest::Approx(unit));
  CHECK(channel(found, "uncore-0").quantum_joules == doctest::Approx(unit));
  CHECK(channel(found, "dram-0").quantum_joules == 1.0 / 16384);
}

TEST_CASE("an ordinary user is told the level and the command that helps") {
  SKIP_WITHOUT_MSR_PMU();
  const auto level = try_read_text("/proc/sys/kernel/perf_event_paranoid");
  if (::geteuid() != 0 || !level || parse_u64(*level).value_or(0) == 0) {
    MESSAGE("skipped: only root can become an ordinary user, who is refused only above level 0");
    return;
  }
  const Server tree;
  tree.power("energy-pkg", kTsc, one_watt_scale());
  Roots roots = tree.roots();
  roots.proc = "/proc";

  int pipes[2];
  REQUIRE(::pipe(pipes) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    constexpr uid_t kNobody = 65534;
    if (::setgid(kNobody) != 0 || ::setuid(kNobody) != 0) ::_exit(1);
    Found found;
    find_rapl_perf(roots, everything, found);
    std::string text = std::to_string(found.sources.size()) + " sources\n";
    for (const auto& refusal : found.refusals) {
      text += std::to_string(refusal.error) + "|" + refusal.path + "|" + refusal.reason + "|" + refusal.remedy + "\n";
    }
    const bool written = ::write(pipes[1], text.data(), text.size()) == static_cast<ssize_t>(text.size());
    ::_exit(written ? 0 : 1);
  }
  ::close(pipes[1]);
  std::string text(4096, '\0');
  const ssize_t size = ::read(pipes[0], text.data(), text.size());
  ::close(pipes[0]);
  int status = -1;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(status == 0);
  REQUIRE(size > 0);
  text.resize(static_cast<std::size_t>(size));

  CAPTURE(text);
  CHECK(text.starts_with("0 sources\n" + std::to_string(EACCES) + "|power/energy-pkg/ on CPU 0|"));
  CHECK(contains(text, "kernel.perf_event_paranoid is " + *level));
  CHECK(contains(text, "sudo setpriv --reuid $(id -u)"));
  CHECK(std::count(text.begin(), text.end(), '\n') == 2);
}

// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cerrno>

#include "one_watt.hpp"
#include "sources/perf_denied.hpp"

using namespace powerprobe;

namespace {

// A process as /proc shows it: an ordinary user's on a kernel of today, until told otherwise.
struct Process : one_watt::Tree {
  Process() {
    level("2");
    capabilities("0000000000000000");
    write("proc/sys/kernel/cap_last_cap", "40");
    write("proc/self/uid_map", "         0          0 4294967295");
  }
  void level(const std::string& text) const { write("proc/sys/kernel/perf_event_paranoid", text); }
  void capabilities(const std::string& mask, const std::string& seccomp = "0") const {
    write("proc/self/status", "Name:\ttest\nCapPrm:\t000001ffffffffff\nCapEff:\t" + mask + "\nSeccomp:\t" + seccomp +
                                  "\nSeccomp_filters:\t0");
  }
  [[nodiscard]] PerfDenial explain(int error = EACCES) const { return explain_perf_error(error, path("proc")); }
};

constexpr const char* kPerfmon = "0000004000000000";
constexpr const char* kSysAdmin = "0000000000200000";
constexpr const char* kRunPerfmon =
    "sudo setpriv --reuid $(id -u) --regid $(id -g) --init-groups --inh-caps +perfmon --ambient-caps +perfmon COMMAND";

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("an ordinary user lacks the level or the capability, and the capability is the smaller thing to ask for") {
  for (const char* level : {"1", "2"}) {
    const Process process;
    process.level(level);
    const auto [reason, remedy] = process.explain();
    CHECK(contains(reason, std::string("kernel.perf_event_paranoid is ") + level));
    CHECK(contains(reason, "no CAP_PERFMON"));
    CHECK(remedy.starts_with(kRunPerfmon));
    CHECK(contains(remedy, "sudo sysctl kernel.perf_event_paranoid=0"));
  }
}

TEST_CASE("kernels without CAP_PERFMON ask for CAP_SYS_ADMIN") {
  const Process process;
  process.write("proc/sys/kernel/cap_last_cap", "37");
  const auto [reason, remedy] = process.explain();
  CHECK(contains(reason, "no CAP_SYS_ADMIN"));
  CHECK(contains(remedy, "+sys_admin COMMAND"));
  CHECK_FALSE(contains(remedy, "perfmon"));
}

TEST_CASE("above level 2 CAP_PERFMON is not enough, so the level comes first") {
  const Process process;
  process.level("3");
  CHECK(contains(process.explain().reason, "kernel.perf_event_paranoid is 3"));
  CHECK(contains(process.explain().reason, "even with CAP_PERFMON"));
  CHECK(process.explain().remedy == std::string("sudo sysctl kernel.perf_event_paranoid=2 && ") + kRunPerfmon);
  process.capabilities(kPerfmon);
  CHECK(contains(process.explain().reason, "even with CAP_PERFMON"));
  CHECK(process.explain().remedy == "sudo sysctl kernel.perf_event_paranoid=2");
}

TEST_CASE("who has the rights and is refused all the same was refused by something else") {
  const Process process;
  process.capabilities(kPerfmon);
  CHECK(contains(process.explain().reason, "security module"));
  process.level("3");
  process.capabilities(kSysAdmin);
  CHECK(contains(process.explain().reason, "security module"));
  process.level("-1");
  process.capabilities("0");
  CHECK(contains(process.explain().reason, "kernel.perf_event_paranoid is -1"));
  CHECK(contains(process.explain().reason, "security module"));
}

TEST_CASE("capabilities of a rootless container count only inside it") {
  const Process process;
  process.capabilities("000001ffffffffff");
  process.write("proc/self/uid_map", "0 1000 1\n1 100000 65536");
  const auto [reason, remedy] = process.explain();
  CHECK(contains(reason, "user namespace"));
  CHECK(contains(remedy, "sudo sysctl kernel.perf_event_paranoid=0"));
}

TEST_CASE("a seccomp filter answers EPERM") {
  const Process process;
  process.capabilities("0", "2");
  CHECK(contains(process.explain(EPERM).reason, "seccomp"));
  CHECK(contains(process.explain(EPERM).remedy, "--cap-add PERFMON"));
  CHECK(contains(process.explain(EACCES).reason, "no CAP_PERFMON"));
}

TEST_CASE("without /proc the refusal says that it cannot tell") {
  const one_watt::Tree nothing;
  const auto [reason, remedy] = explain_perf_error(EACCES, nothing.path("proc"));
  CHECK(contains(reason, "perf_event_paranoid"));
  CHECK(remedy.empty());
}

TEST_CASE("other errors have a meaning of their own") {
  const Process process;
  CHECK(contains(process.explain(ENOSYS).reason, "without perf events"));
  CHECK(process.explain(ENOENT).remedy == "sudo modprobe rapl");
  CHECK(contains(process.explain(EINVAL).reason, "does not have this event"));
  CHECK(contains(process.explain(ENODEV).reason, "offline"));
  CHECK(process.explain(EMFILE).remedy == "ulimit -n $(ulimit -Hn)");
  CHECK_FALSE(process.explain(EIO).reason.empty());
}

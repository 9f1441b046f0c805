// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cerrno>

#include "msr_tree.hpp"
#include "sources/msr_denied.hpp"

using namespace powerprobe;

namespace {

constexpr const char* kNoCapability = "Name:\tx\nCapEff:\t0000000000000000\nSeccomp:\t0";
constexpr const char* kRawio = "Name:\tx\nCapEff:\t0000000000020000\nSeccomp:\t0";

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

struct Machine : MsrTree {
  Machine(const char* status, bool is_readable) {
    write("proc/self/status", status);
    set_register(0, 0x606, 1);
    std::filesystem::permissions(msr(0), std::filesystem::perms(is_readable ? 0644 : 0));
  }
  [[nodiscard]] MsrDenial explain(int error = EACCES) const {
    const AsNobody nobody;
    return explain_msr_error(error, msr(0), roots());
  }
};

}  // namespace

TEST_CASE("of mode and capability it says which is missing, and gives the command for that one") {
  const auto both = Machine(kNoCapability, false).explain();
  CHECK(contains(both.reason, "mode keeps this user out"));
  CHECK(contains(both.reason, "no CAP_SYS_RAWIO"));
  CHECK(contains(both.remedy, "chmod g+r"));
  CHECK(contains(both.remedy, "+sys_rawio"));

  const auto mode = Machine(kRawio, false).explain();
  CHECK(contains(mode.reason, "mode keeps this user out"));
  CHECK_FALSE(contains(mode.reason, "no CAP_SYS_RAWIO"));
  CHECK(contains(mode.remedy, "chmod g+r"));
  CHECK_FALSE(contains(mode.remedy, "+sys_rawio"));

  const auto capability = Machine(kNoCapability, true).explain(EPERM);
  CHECK(contains(capability.reason, "mode is fine"));
  CHECK(contains(capability.reason, "no CAP_SYS_RAWIO"));
  CHECK_FALSE(contains(capability.remedy, "chmod"));
  CHECK(contains(capability.remedy, "+sys_rawio"));
}

TEST_CASE("what needs least is named first") {
  for (const bool is_readable : {false, true}) {
    const auto denial = Machine(kNoCapability, is_readable).explain();
    CHECK(denial.remedy.find("msr-safe") < denial.remedy.find("sudo"));
  }
}

TEST_CASE("refused although both are there: something else forbids it, lockdown is told") {
  const Machine machine(kRawio, true);
  CHECK(contains(machine.explain(EPERM).reason, "container"));
  CHECK_FALSE(contains(machine.explain(EPERM).reason, "lockdown"));
  machine.write("sys/kernel/security/lockdown", "none [integrity] confidentiality");
  CHECK(contains(machine.explain(EPERM).reason, "lockdown is on (integrity)"));
  machine.write("sys/kernel/security/lockdown", "[none] integrity confidentiality");
  CHECK_FALSE(contains(machine.explain(EPERM).reason, "lockdown"));
}

TEST_CASE("a missing device is a missing module, or a container that has it not") {
  const MsrTree tree;
  const auto module = explain_msr_error(ENOENT, tree.msr(0), tree.roots());
  CHECK(contains(module.reason, "module msr is not loaded"));
  CHECK(contains(module.remedy, "sudo modprobe msr"));
  tree.write("sys/module/msr/parameters/allow_writes", "default");
  const auto container = explain_msr_error(ENOENT, tree.msr(0), tree.roots());
  CHECK(contains(container.reason, "container"));
  CHECK(contains(container.remedy, "--device " + tree.msr(0).string()));
}

TEST_CASE("an offline CPU is brought online") {
  const MsrTree tree;
  const auto denial = explain_msr_error(ENXIO, tree.msr(12), tree.roots());
  CHECK(contains(denial.reason, "offline"));
  CHECK(contains(denial.remedy, "/sys/devices/system/cpu/cpu12/online"));
}

TEST_CASE("msr-safe asks for its group") {
  const Machine machine(kNoCapability, false);
  CHECK(contains(explain_msr_error(EACCES, machine.msr(0, "msr_safe"), machine.roots()).remedy, "msr-user"));
}

TEST_CASE("any other error is told in the system's words") {
  const MsrTree tree;
  CHECK_FALSE(explain_msr_error(EMFILE, tree.msr(0), tree.roots()).remedy.empty());
  CHECK_FALSE(explain_msr_error(ENOMEM, tree.msr(0), tree.roots()).reason.empty());
}

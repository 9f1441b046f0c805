// SPDX-License-Identifier: MIT
#include "sources/perf_denied.hpp"

#include <cerrno>
#include <cstdint>
#include <optional>
#include <string_view>
#include <system_error>

#include "sources/sysfs.hpp"

namespace powerprobe {
namespace {

namespace fs = std::filesystem;

// <linux/capability.h>; CAP_PERFMON came with Linux 5.8 and is missing from older headers.
constexpr unsigned kCapSysAdmin = 21;
constexpr unsigned kCapPerfmon = 38;

struct Rights {
  std::optional<int> level;  // kernel.perf_event_paranoid
  bool sys_admin = false;
  bool perfmon = false;
  bool kernel_knows_perfmon = true;
  bool filtered = false;  // a seccomp filter decides about its system calls
  bool in_namespace = false;
};

// The value of "Name:\tvalue" in a file such as /proc/self/status.
std::string_view field(std::string_view text, std::string_view name) {
  while (!text.empty()) {
    const auto end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    if (line.starts_with(name)) {
      const std::string_view value = line.substr(name.size());
      const auto first = value.find_first_not_of(" \t");
      return first == std::string_view::npos ? std::string_view{} : value.substr(first);
    }
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return {};
}

std::optional<int> parse_level(std::string_view text) {
  const bool negative = text.starts_with('-');
  const auto value = parse_u64(negative ? text.substr(1) : text);
  if (!value || *value > 1000) return std::nullopt;
  return negative ? -static_cast<int>(*value) : static_cast<int>(*value);
}

// A user namespace other than the machine's own maps fewer users than there are (user_namespaces(7)).
bool maps_all_users(std::string_view uid_map) { return uid_map.find("4294967295") != std::string_view::npos; }

Rights read_rights(const fs::path& proc) {
  Rights rights;
  if (const auto text = try_read_text(proc / "sys/kernel/perf_event_paranoid")) rights.level = parse_level(*text);
  if (const auto text = try_read_text(proc / "sys/kernel/cap_last_cap")) {
    rights.kernel_knows_perfmon = parse_u64(*text).value_or(kCapPerfmon) >= kCapPerfmon;
  }
  if (const auto status = try_read_text(proc / "self/status")) {
    const std::uint64_t effective = parse_u64(field(*status, "CapEff:"), 16).value_or(0);
    rights.sys_admin = (effective >> kCapSysAdmin & 1) != 0;
    rights.perfmon = (effective >> kCapPerfmon & 1) != 0;
    rights.filtered = field(*status, "Seccomp:") == "2";
  }
  if (const auto map = try_read_text(proc / "self/uid_map")) rights.in_namespace = !maps_all_users(*map);
  return rights;
}

// One command as the same user with one capability more; nothing on the machine changes.
std::string run_with(const std::string& capability) {
  return "sudo setpriv --reuid $(id -u) --regid $(id -g) --init-groups --inh-caps +" + capability +
         " --ambient-caps +" + capability + " COMMAND";
}

PerfDenial explain_denial(int error, const Rights& rights) {
  if (error == EPERM && rights.filtered) {
    return {"a seccomp filter, as container runtimes set one, forbids perf_event_open",
            "start the container with --cap-add PERFMON (docker run, podman run)"};
  }
  if (!rights.level) {
    return {"the kernel forbids it, and without sys/kernel/perf_event_paranoid in /proc it does not tell why", ""};
  }
  const std::string level = "kernel.perf_event_paranoid is " + std::to_string(*rights.level);
  const std::string capability = rights.kernel_knows_perfmon ? "CAP_PERFMON" : "CAP_SYS_ADMIN";
  const std::string run_command = run_with(rights.kernel_knows_perfmon ? "perfmon" : "sys_admin");
  const bool capable = rights.sys_admin || rights.perfmon;

  if (*rights.level > 0 && capable && rights.in_namespace) {
    return {level + " and the capabilities of this process count only inside its user namespace (a rootless container)",
            "sudo sysctl kernel.perf_event_paranoid=0 (on the host; for every user)"};
  }
  // Kernels of Debian and Ubuntu know levels above 2, at which CAP_PERFMON is not enough; others treat them as 2.
  if (*rights.level > 2 && !rights.sys_admin) {
    const std::string lower = "sudo sysctl kernel.perf_event_paranoid=2";
    return {
        level +
            ": above 2, kernels of Debian and Ubuntu refuse every process without CAP_SYS_ADMIN, even with CAP_PERFMON",
        rights.perfmon ? lower : lower + " && " + run_command};
  }
  if (*rights.level > 0 && !capable) {
    return {level + " and this process has no " + capability + "; counting on a CPU needs level 0 or that capability",
            run_command + " (this command alone), or sudo sysctl kernel.perf_event_paranoid=0 (every user)"};
  }
  return {
      level +
          " and the capabilities of this process would do, so something else forbids it: a security module or lockdown",
      "sudo dmesg | grep -iE 'denied|lockdown' (names what refused)"};
}

}  // namespace

PerfDenial explain_perf_error(int error, const fs::path& proc) {
  switch (error) {
    case EACCES:
    case EPERM:
      return explain_denial(error, read_rights(proc));
    case ENOSYS:
      return {"this kernel was built without perf events", ""};
    case ENOENT:
      return {"the kernel no longer knows this PMU: its driver was unloaded", "sudo modprobe rapl"};
    case EINVAL:
      return {"the PMU does not have this event, or not on this CPU", ""};
    case ENODEV:
      return {"its CPU is offline", ""};
    case EMFILE:
      return {"this process may not have more files open", "ulimit -n $(ulimit -Hn)"};
    default:
      return {std::generic_category().message(error), ""};
  }
}

}  // namespace powerprobe

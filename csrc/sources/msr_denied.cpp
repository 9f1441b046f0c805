// SPDX-License-Identifier: MIT
#include "sources/msr_denied.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <system_error>

#include "sources/sysfs.hpp"

namespace powerprobe {
namespace {

namespace fs = std::filesystem;

constexpr unsigned kCapSysRawio = 17;  // <linux/capability.h>

bool has_sys_rawio(const fs::path& proc) {
  const std::string status = try_read_text(proc / "self/status").value_or("");
  const std::string key = "CapEff:\t";
  const auto at = status.find(key);
  if (at == std::string::npos) return false;
  const auto begin = at + key.size();
  const auto capabilities = parse_u64(status.substr(begin, status.find('\n', begin) - begin), 16).value_or(0);
  return (capabilities >> kCapSysRawio & 1) != 0;
}

// "integrity" or "confidentiality"; empty where the kernel is not locked down.
std::string lockdown(const fs::path& sys) {
  const std::string text = try_read_text(sys / "kernel/security/lockdown").value_or("");
  const auto open = text.find('[');
  const auto close = text.find(']');
  if (open == std::string::npos || close == std::string::npos || close < open) return {};
  const std::string level = text.substr(open + 1, close - open - 1);
  return level == "none" ? std::string{} : level;
}

MsrDenial explain_missing(const fs::path& file, const Roots& roots) {
  std::error_code ignored;
  if (!fs::exists(roots.sys / "module/msr", ignored)) {
    return {"there is no such device: the kernel module msr is not loaded",
            "sudo modprobe msr (on the host, if this is a container)"};
  }
  return {"there is no such device here although the kernel module msr is loaded: this is a container without it",
          "start the container with --device " + file.string() + ":" + file.string() + ":r --cap-add SYS_RAWIO"};
}

MsrDenial explain_denial(const fs::path& file, const Roots& roots) {
  const bool may_open = ::faccessat(AT_FDCWD, file.c_str(), R_OK, AT_EACCESS) == 0;
  const bool capable = has_sys_rawio(roots.proc);
  // The kernel asks for both: arch/x86/kernel/msr.c. CAP_SYS_RAWIO covers far more than reading energy, so what needs
  // less is named first.
  const std::string safe = "install msr-safe, which grants single registers without CAP_SYS_RAWIO; or ";
  const std::string all = (file.parent_path().parent_path() / "*" / file.filename()).string();
  const std::string grant = "sudo chgrp $(id -g) " + all + " && sudo chmod g+r " + all;
  const std::string run =
      "sudo setpriv --reuid $(id -u) --regid $(id -g) --init-groups --inh-caps +sys_rawio --ambient-caps +sys_rawio "
      "COMMAND";
  if (file.filename() == "msr_safe") {
    return {"this user may not read msr-safe's device", "sudo usermod -aG msr-user $(id -un), and log in again"};
  }
  if (!may_open && !capable) {
    return {"the file's mode keeps this user out, and this process has no CAP_SYS_RAWIO; it needs both",
            safe + grant + " && " + run};
  }
  if (!may_open) return {"the file's mode keeps this user out (CAP_SYS_RAWIO is there)", grant};
  if (!capable) return {"the file's mode is fine but this process has no CAP_SYS_RAWIO", safe + run};

  std::string reason =
      "the file's mode and CAP_SYS_RAWIO are there and still it is refused: by the device rules of a container, "
      "because "
      "the capability counts only inside a user namespace, or by a security module";
  const std::string level = lockdown(roots.sys);
  if (!level.empty()) reason += "; kernel lockdown is on (" + level + ")";
  return {std::move(reason), "on the host, or start the container with --device " + file.string() + ":" +
                                 file.string() + ":r --cap-add SYS_RAWIO; sudo dmesg | grep -iE 'denied|lockdown'"};
}

}  // namespace

MsrDenial explain_msr_error(int error, const fs::path& file, const Roots& roots) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return explain_missing(file, roots);
    case EACCES:
    case EPERM:
      return explain_denial(file, roots);
    case ENXIO:
    case ENODEV:
      return {"its CPU is offline", "echo 1 | sudo tee " + (roots.sys / "devices/system/cpu/cpu").string() +
                                        file.parent_path().filename().string() + "/online"};
    case EIO:
      return {"this CPU has no model-specific registers", ""};
    case EMFILE:
      return {"this process may not have more files open", "ulimit -n $(ulimit -Hn)"};
    default:
      return {std::generic_category().message(error), ""};
  }
}

}  // namespace powerprobe

// SPDX-License-Identifier: MIT
// A machine with processor registers in ordinary files, for tests of what reads /dev/cpu/N/msr. A register is the eight
// bytes at the offset of its number, so that neighbours overlap: Intel's energy registers do not (but for 0x612 and
// 0x614 with 0x611), AMD's do. Holes read 0, which is how an unwired register reads.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>

#include "sources/found.hpp"
#include "tree.hpp"

namespace powerprobe {

class MsrTree : public Tree {
 public:
  [[nodiscard]] Roots roots() const { return {root() / "sys", root() / "dev", root() / "proc"}; }

  void set_processor(const std::string& vendor, int family, int model, const std::string& flags = "fpu") const {
    write("proc/cpuinfo", "processor\t: 0\nvendor_id\t: " + vendor + "\ncpu family\t: " + std::to_string(family) +
                              "\nmodel\t\t: " + std::to_string(model) + "\nflags\t\t: " + flags + "\nbugs\t\t:\n");
  }

  // Call it for ascending numbers.
  void add_cpu(int cpu, int package, int die, int core) {
    online_ += (online_.empty() ? "" : ",") + std::to_string(cpu);
    write("sys/devices/system/cpu/online", online_);
    const std::string folder = "sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    write(folder + "physical_package_id", std::to_string(package));
    write(folder + "die_id", std::to_string(die));
    write(folder + "core_id", std::to_string(core));
  }

  [[nodiscard]] std::filesystem::path msr(int cpu, const std::string& name = "msr") const {
    return root() / "dev/cpu" / std::to_string(cpu) / name;
  }

  void set_register(int cpu, std::uint32_t number, std::uint64_t value, const std::string& name = "msr") const {
    std::filesystem::create_directories(msr(cpu).parent_path());
    const int fd = ::open(msr(cpu, name).c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    const bool is_written = fd >= 0 && ::pwrite(fd, &value, sizeof value, static_cast<off_t>(number)) == sizeof value;
    ::close(fd);
    if (!is_written) throw std::runtime_error("write register of " + msr(cpu, name).string());
  }

 private:
  std::string online_;
};

// The rest of a block without root's power over file modes, where the test has it.
class AsNobody {
 public:
  AsNobody() : was_root_(::geteuid() == 0) {
    if (was_root_ && ::seteuid(65534) != 0) throw std::runtime_error("seteuid");
  }
  AsNobody(const AsNobody&) = delete;
  AsNobody& operator=(const AsNobody&) = delete;
  ~AsNobody() {
    if (was_root_ && ::seteuid(0) != 0) std::abort();
  }

 private:
  bool was_root_;
};

}  // namespace powerprobe

// SPDX-License-Identifier: MIT
#include "sources/rapl_msr.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <utility>

#include "sources/cpuinfo.hpp"
#include "sources/domains.hpp"
#include "sources/msr_denied.hpp"
#include "sources/rapl_models.hpp"
#include "sources/rapl_stamp.hpp"
#include "sources/sysfs.hpp"
#include "sources/topology.hpp"

namespace powerprobe {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSource = "rapl_msr";

// All RAPL counters have 32 bits that count. What the upper half of a register holds differs: nothing, more energy (AMD
// since Zen 4), or a time stamp (0x612, 0x64D of servers).
constexpr std::uint64_t kModulus = std::uint64_t{1} << 32;
constexpr std::uint64_t kMask = kModulus - 1;

// Intel's filter against reading secrets from energy: IA32_MISC_PACKAGE_CTLS, there if IA32_ARCH_CAPABILITIES says so.
constexpr std::uint32_t kArchCapabilities = 0x10A;
constexpr std::uint64_t kHasPackageControls = 1U << 10;
constexpr std::uint32_t kPackageControls = 0xBC;
constexpr std::uint64_t kFilterOn = 1;
constexpr std::int64_t kFilteredPeriodNs =
    3'000'000;  // M. Schmidl, TU Dresden 2025: 3.0 to 3.2 ms; DRAM is not affected

// How far apart two looks at a stamp are, and how often that is tried: a package asleep may have updated late once.
constexpr auto kProofWait = std::chrono::milliseconds(50);
constexpr int kProofRounds = 2;

std::string hex(std::uint32_t number) {
  char text[16];
  std::snprintf(text, sizeof text, "0x%X", number);
  return text;
}

std::string register_path(const fs::path& file, std::uint32_t number) {
  return file.string() + " register " + hex(number);
}

// The counters of one package or die, from the first idea of them to the source.
struct Package {
  Cpu cpu;
  int die = -1;
  fs::path path;
  MsrFile file;
  std::uint64_t unit_register = 0;
  std::vector<ChannelInfo> channels;
  std::vector<RaplMsr::Counter> counters;
  std::optional<StampLook> look;
};

class Search {
 public:
  Search(const Roots& roots, const Wanted& wanted, Found& found)
      : roots_(roots), wanted_(wanted), found_(found), cpu_(read_cpuinfo(roots.proc)) {}

  void run() {
    if (!know_the_processor()) return;
    const auto topology = read_topology(roots_.sys);
    if (topology.empty()) {
      return refuse((roots_.sys / "devices/system/cpu/online").string(),
                    "the kernel does not tell which CPUs are online", "mount /sys");
    }
    std::vector<Package> packages;
    for (const Cpu& cpu : first_cpus(topology)) add_package(cpu, topology, packages);
    if (!psys_refusal_.reason.empty() && !has_psys_) add(psys_refusal_);
    prove_stamps(packages);
    for (Package& package : packages) {
      if (package.channels.empty()) continue;
      std::vector<MsrFile> files;
      files.push_back(std::move(package.file));
      found_.sources.push_back(
          std::make_unique<RaplMsr>(std::move(files), std::move(package.counters), std::move(package.channels)));
    }
    for (auto& source : core_sources_) found_.sources.push_back(std::move(source));
  }

 private:
  // The same story about another package or core is not told twice.
  void add(Refusal refusal) {
    if (told_.emplace(refusal.reason, refusal.error).second) found_.refusals.push_back(std::move(refusal));
  }

  void refuse(std::string path, std::string reason, std::string remedy = {}, int error = 0) {
    add({kSource, std::move(path), std::move(reason), std::move(remedy), error});
  }

  bool know_the_processor() {
    group_ = find_rapl_group(cpu_);
    if (group_ != nullptr) return true;
    const fs::path file = roots_.proc / "cpuinfo";
    if (!cpu_.is_intel() && !cpu_.is_amd()) {
      refuse(file.string(), "only processors of Intel, AMD and Hygon have RAPL registers");
    } else if (cpu_.is_amd()) {
      refuse(file.string(),
             "AMD family " + std::to_string(cpu_.family) + " has no RAPL registers, they came with Zen (23)");
    } else {
      refuse(
          file.string(),
          "Intel family " + std::to_string(cpu_.family) + " model " + std::to_string(cpu_.model) +
              " is not in the table of known energy units, and a wrong unit would give wrong joules",
          "sudo modprobe -a rapl intel_rapl_msr (perf and powercap know what the kernel knows); please report family "
          "and model together with the output of: sudo rdmsr -a 0x606");
    }
    return false;
  }

  // The CPU that each counter is read on.
  std::vector<Cpu> first_cpus(const std::vector<Cpu>& topology) const {
    std::vector<Cpu> first;
    for (const Cpu& cpu : topology) {
      const bool known = std::any_of(first.begin(), first.end(), [&](const Cpu& other) { return is_same(cpu, other); });
      if (!known) first.push_back(cpu);
    }
    return first;
  }

  bool is_same(const Cpu& a, const Cpu& b) const {
    return a.package == b.package && (!group_->is_per_die || a.die == b.die);
  }

  void add_package(const Cpu& cpu, const std::vector<Cpu>& topology, std::vector<Package>& packages) {
    Package package;
    package.cpu = cpu;
    if (group_->is_per_die && has_several_dies(topology)) package.die = cpu.die;
    std::vector<std::pair<ChannelInfo, RaplDomain>> candidates;
    for (const RaplDomain& domain : group_->domains) {
      ChannelInfo channel = describe(domain, package);
      if (wanted_(channel)) candidates.emplace_back(std::move(channel), domain);
    }
    std::vector<std::pair<ChannelInfo, Cpu>> cores = wanted_cores(cpu, topology);
    if (candidates.empty() && cores.empty()) return;
    if (!open(cpu.cpu, package.file, package.path) || !read_unit(package)) return;

    const bool is_filtered = check_filter(package);
    for (auto& [channel, domain] : candidates) {
      channel.filtered = is_filtered && channel.domain != "dram";
      if (channel.filtered) channel.update_period_ns = kFilteredPeriodNs;
      add_domain(domain, std::move(channel), package);
    }
    if (!is_filtered) look_for_stamp(package);
    packages.push_back(std::move(package));
    add_cores(cores, packages.back().unit_register);
  }

  ChannelInfo describe(const RaplDomain& domain, const Package& package) const {
    ChannelInfo channel;
    channel.source = kSource;
    channel.domain = domain.name;
    // The platform belongs to no package, whichever answers for it.
    if (channel.domain != "psys") {
      channel.package = package.cpu.package;
      channel.die = package.die;
    }
    channel.name = channel_name(channel.domain, channel.package, channel.die);
    channel.path = register_path(msr_path(package.cpu.cpu), domain.register_number);
    channel.modulus = kModulus;
    channel.update_period_ns = group_->update_period_ns;
    channel.stale_ns = domain.stale_ns;
    channel.max_watts = domain.max_watts;
    channel.cpu = package.cpu.cpu;
    return channel;
  }

  fs::path msr_path(int cpu) const { return roots_.dev / "cpu" / std::to_string(cpu) / "msr"; }

  bool open(int cpu, MsrFile& file, fs::path& path) {
    path = msr_path(cpu);
    const int error = file.open(path);
    if (error == 0) return true;
    const fs::path safe = path.parent_path() / "msr_safe";
    const int safe_error = file.open(safe);
    if (safe_error == 0 || safe_error == EACCES) path = safe;  // of the two, its refusal can be mended with less
    if (safe_error == 0) return true;
    const int told = path == safe ? safe_error : error;
    const MsrDenial denial = explain_msr_error(told, path, roots_);
    refuse(path.string(), denial.reason, denial.remedy, told);
    return false;
  }

  bool read_unit(Package& package) {
    const std::uint32_t number = group_->unit_register;
    const int error = package.file.read(number, package.unit_register);
    const std::string path = register_path(package.path, number);
    if (error != 0) {
      refuse_register(path, number, error);
      return false;
    }
    if (joules_per_count(*group_, group_->domains.front(), package.unit_register)) return true;
    if (cpu_.hypervisor) {
      refuse(path, "no RAPL in this virtual machine: KVM answers RAPL reads with 0, the register of units included",
             "measure on the host, or pass the counter on: QEMU 9.1 or newer with -accel kvm,rapl=true");
    } else {
      refuse(path, "the register of units reads " + hex(static_cast<std::uint32_t>(package.unit_register)) +
                       ", which names no energy unit: no RAPL here");
    }
    return false;
  }

  void refuse_register(const std::string& path, std::uint32_t number, int error) {
    add(register_refusal(path, number, error));
  }

  Refusal register_refusal(const std::string& path, std::uint32_t number, int error) const {
    if (error == 0) return {kSource, path, "register " + hex(number) + " reads 0: nothing is counted there", "", 0};
    if (error == EACCES || error == EPERM) {
      return {kSource, path, "register " + hex(number) + " is not on msr-safe's list",
              "add the line '" + hex(number) + " 0x0' to " + (roots_.dev / "cpu/msr_allowlist").string(), error};
    }
    if (error == ENXIO || error == ENODEV) return {kSource, path, "its CPU went offline", "", error};
    return {kSource, path, "register " + hex(number) + " does not exist on this CPU: reading it fails", "", error};
  }

  // True where the processor blurs its counters.
  bool check_filter(const Package& package) {
    if (group_->stamp_register == 0) return false;  // not among the generations that can
    std::uint64_t capabilities = 0;
    std::uint64_t controls = 0;
    if (package.file.read(kArchCapabilities, capabilities) != 0 || (capabilities & kHasPackageControls) == 0)
      return false;
    if (package.file.read(kPackageControls, controls) != 0) return false;
    // Firmware that enables SGX turns it on as well. " sgx " and not "sgx": sgx_lc is another flag.
    const std::string flags = try_read_text(roots_.proc / "cpuinfo").value_or("");
    const bool has_sgx = flags.find(" sgx ") != std::string::npos || flags.find(" sgx\n") != std::string::npos;
    if ((controls & kFilterOn) == 0 && !has_sgx) return false;
    refuse(
        register_path(package.path, kPackageControls),
        std::string("the energy filter is on (") +
            ((controls & kFilterOn) != 0 ? "bit 0 of register 0xBC" : "SGX is enabled") +
            "): counters move every 3 ms with noise added, and hardware time stamps are not precise and not used; it "
            "cannot be cleared until reset",
        "disable SGX in the firmware and reboot");
    return true;
  }

  void add_domain(const RaplDomain& domain, ChannelInfo channel, Package& package) {
    channel.path = register_path(package.path, domain.register_number);
    std::uint64_t value = 0;
    const int error = package.file.read(domain.register_number, value);
    const bool is_psys = channel.domain == "psys";
    if (error != 0 || (value & kMask) == 0) {
      // A register that is not wired reads 0; the kernel's drivers hide such domains too. Of the psys registers on a
      // board with several packages only one counts, so that is told only if none does.
      Refusal refusal = register_refusal(channel.path, domain.register_number, error);
      if (is_psys) {
        psys_refusal_ = std::move(refusal);
      } else {
        add(std::move(refusal));
      }
      return;
    }
    if (is_psys && std::exchange(has_psys_, true)) {
      return refuse(channel.path, "the platform is counted by another package already");
    }
    channel.joules_per_count = joules_per_count(*group_, domain, package.unit_register).value();
    if (channel.max_watts == 0.0) channel.max_watts = max_watts(package);
    package.counters.push_back({domain.register_number, 0, false});
    package.channels.push_back(std::move(channel));
  }

  double max_watts(const Package& package) const {
    std::uint64_t info = 0;
    if (group_->power_info_register == 0 || package.file.read(group_->power_info_register, info) != 0) info = 0;
    return max_package_watts(package.unit_register, info);
  }

  void look_for_stamp(Package& package) const {
    if (group_->stamp_register == 0 || package.channels.empty() || package.channels.front().domain != "package") return;
    package.look = look(package);
  }

  std::optional<StampLook> look(const Package& package) const {
    const auto read = [&](std::uint32_t number, std::uint64_t& value) { return package.file.read(number, value); };
    return look_at_stamp(read, group_->domains.front().register_number, group_->stamp_register);
  }

  // 0x612 is documented for Ice Lake-X and was measured on Sapphire Rapids; on the others it may be anything. It is
  // used where, twice 50 ms apart, its lower half is the package's energy and its upper half went on by that many
  // ticks.
  void prove_stamps(std::vector<Package>& packages) {
    for (int round = 0; round < kProofRounds; ++round) {
      const bool any =
          std::any_of(packages.begin(), packages.end(), [](const Package& p) { return p.look.has_value(); });
      if (!any) return;
      std::this_thread::sleep_for(kProofWait);
      for (Package& package : packages) {
        if (!package.look) continue;
        const auto second = look(package);
        if (second && goes_like_the_clock(*package.look, *second, group_->update_period_ns)) {
          use_stamp(package);
          package.look.reset();
        } else {
          package.look = second;
        }
      }
    }
  }

  void use_stamp(Package& package) const {
    ChannelInfo& channel = package.channels.front();
    channel.path = register_path(package.path, group_->stamp_register);
    channel.stamp_tick_ns = kStampTickNs;
    channel.stamp_modulus = kStampModulus;
    package.counters.front() = {group_->stamp_register, 0, true};
  }

  // One CPU of each core of the package: the siblings of a core return the same counter.
  std::vector<std::pair<ChannelInfo, Cpu>> wanted_cores(const Cpu& first, const std::vector<Cpu>& topology) const {
    std::vector<std::pair<ChannelInfo, Cpu>> cores;
    if (group_->core_register == 0) return cores;
    std::set<std::pair<int, int>> seen;  // die, core
    std::set<int> ids;
    for (const Cpu& cpu : topology) {
      if (!is_same(cpu, first) || !seen.emplace(cpu.die, cpu.core).second) continue;
      const RaplDomain domain{"core", group_->core_register, 0.0, kMaxCoreWatts};
      Package place;
      place.cpu = cpu;
      ChannelInfo channel = describe(domain, place);
      channel.core = cpu.core;
      // Some kernels number the cores of each die from 0.
      if (!ids.insert(cpu.core).second) channel.die = cpu.die;
      channel.name = channel_name("core", cpu.package, channel.die, cpu.core);
      if (wanted_(channel)) cores.emplace_back(std::move(channel), cpu);
    }
    return cores;
  }

  void add_cores(std::vector<std::pair<ChannelInfo, Cpu>>& cores, std::uint64_t unit_register) {
    const RaplDomain domain{"core", group_->core_register, 0.0, kMaxCoreWatts};
    std::vector<MsrFile> files;
    std::vector<RaplMsr::Counter> counters;
    std::vector<ChannelInfo> channels;
    for (auto& [channel, cpu] : cores) {
      MsrFile file;
      fs::path path;
      if (!open(cpu.cpu, file, path)) continue;
      channel.path = register_path(path, domain.register_number);
      std::uint64_t value = 0;
      const int error = file.read(domain.register_number, value);
      if (error != 0 || (value & kMask) == 0) {
        refuse_register(channel.path, domain.register_number, error);
        continue;
      }
      channel.joules_per_count = joules_per_count(*group_, domain, unit_register).value();
      counters.push_back({domain.register_number, files.size(), false});
      files.push_back(std::move(file));
      channels.push_back(std::move(channel));
    }
    if (channels.empty()) return;
    core_sources_.push_back(std::make_unique<RaplMsr>(std::move(files), std::move(counters), std::move(channels)));
  }

  const Roots& roots_;
  const Wanted& wanted_;
  Found& found_;
  const CpuIdentity cpu_;
  const RaplGroup* group_ = nullptr;
  std::set<std::pair<std::string, int>> told_;
  bool has_psys_ = false;
  Refusal psys_refusal_;
  std::vector<std::unique_ptr<Source>> core_sources_;
};

}  // namespace

MsrFile& MsrFile::operator=(MsrFile&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

MsrFile::~MsrFile() {
  if (fd_ >= 0) ::close(fd_);
}

int MsrFile::open(const fs::path& file) {
  if (fd_ >= 0) ::close(fd_);
  fd_ = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  return fd_ < 0 ? errno : 0;
}

int MsrFile::read(std::uint32_t register_number, std::uint64_t& value) const noexcept {
  // The driver takes the file offset as the register's number; a longer read would return the same register again.
  const ssize_t size = ::pread(fd_, &value, sizeof value, static_cast<off_t>(register_number));
  if (size == static_cast<ssize_t>(sizeof value)) return 0;
  return size < 0 ? errno : EIO;
}

ReadStatus msr_status(int error) noexcept {
  switch (error) {
    case 0:
      return ReadStatus::kOk;
    case ENXIO:
    case ENODEV:
      return ReadStatus::kGone;  // the CPU went offline, or the driver was unloaded
    case EACCES:
    case EPERM:
    case EBADF:
      return ReadStatus::kFatal;  // taken off msr-safe's list; closed by somebody else
    default:
      return ReadStatus::kRetry;
  }
}

RaplMsr::RaplMsr(std::vector<MsrFile> files, std::vector<Counter> counters, std::vector<ChannelInfo> channels)
    : files_(std::move(files)), counters_(std::move(counters)), channels_(std::move(channels)) {}

void RaplMsr::read(std::span<Reading> out) noexcept {
  for (std::size_t i = 0; i < out.size(); ++i) {
    const Counter& counter = counters_[i];
    Reading& reading = out[i];
    std::uint64_t value = 0;
    reading.error = files_[counter.file].read(counter.register_number, value);
    reading.count = value & kMask;
    reading.stamp = counter.is_stamped ? value >> 32 : 0;
    reading.status = msr_status(reading.error);
  }
}

void find_rapl_msr(const Roots& roots, const Wanted& wanted, Found& found) { Search(roots, wanted, found).run(); }

}  // namespace powerprobe

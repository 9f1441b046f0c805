// SPDX-License-Identifier: MIT
#include "sources/cpu_model.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <string>
#include <system_error>
#include <utility>

#include "core/clock.hpp"
#include "core/error.hpp"
#include "sources/cpuinfo.hpp"
#include "sources/domains.hpp"
#include "sources/sysfs.hpp"

namespace powerprobe {
namespace {

constexpr const char* kName = "cpu_model";

// Lines "cpu0 ...", "cpu1 ...": the CPUs online. One that is plugged in later goes on counting as if it were not there.
int count_cpus(const std::filesystem::path& stat) {
  std::ifstream file(stat);
  int cpus = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("cpu") && line.size() > 3 && line[3] >= '0' && line[3] <= '9') ++cpus;
  }
  return cpus;
}

std::string describe(const CpuCoefficients& watts, const CpuIdentity& cpu, int cpus) {
  std::string whose = watts.architecture + "'s figures";
  if (watts.architecture.empty()) {
    whose = "no figures are published for this processor (" + (cpu.vendor.empty() ? "not x86" : cpu.vendor);
    if (cpu.family >= 0) whose += " family " + std::to_string(cpu.family) + " model " + std::to_string(cpu.model);
    whose += "), so these are the medians of " + std::to_string(published_cpu_watts().size()) +
             " micro-architectures and the bounds are those of all";
  }
  std::array<char, 200> text;
  std::snprintf(text.data(), text.size(),
                "%d CPUs x %.4g W + busy CPU seconds x %.4g W, within %.4g and %.4g W per CPU", cpus, watts.idle_watts,
                watts.busy_watts - watts.idle_watts, watts.low_watts, watts.high_watts);
  return std::string(text.data()) + "; busy is user + nice + system + irq + softirq of /proc/stat; " + whose +
         "; watts of whole servers at the wall per hardware thread (" + kCpuWattsSource + ")";
}

}  // namespace

void find_cpu_model(const Roots& roots, const Wanted& wanted, Found& found) {
  const auto stat = roots.proc / "stat";
  const CpuIdentity cpu = read_cpuinfo(roots.proc);
  const CpuCoefficients watts = cpu_coefficients(cpu);
  const int cpus = count_cpus(stat);
  const long hz = ::sysconf(_SC_CLK_TCK);
  const std::int64_t tick_ns = 1'000'000'000 / (hz > 0 ? hz : 100);
  ChannelInfo channel;
  channel.domain = "cpu";
  channel.name = channel_name(channel.domain, -1);
  channel.source = kName;
  channel.path = stat.string();
  channel.provenance = Provenance::kEstimated;
  channel.joules_per_count = 1e-6;
  channel.update_period_ns = tick_ns;
  channel.stale_ns = 5 * tick_ns;
  channel.low_watts = watts.low_watts * cpus;
  channel.high_watts = watts.high_watts * cpus;
  channel.formula = describe(watts, cpu, cpus);
  if (!wanted(channel)) return;
  try {
    found.sources.push_back(std::make_unique<CpuModel>(std::move(channel), stat,
                                                       CpuIntegral(watts.idle_watts, watts.busy_watts, cpus, tick_ns)));
  } catch (const Error& error) {
    found.refusals.push_back(refusal_from(kName, error));
  }
}

CommandEnergy command_energy(const CpuCoefficients& coefficients, double cpu_seconds) {
  return {coefficients.busy_watts * cpu_seconds, coefficients.low_watts * cpu_seconds,
          coefficients.high_watts * cpu_seconds};
}

std::optional<std::uint64_t> parse_busy_ticks(std::string_view text) noexcept {
  // cpu  user nice system idle iowait irq softirq steal guest guest_nice
  constexpr std::array kIsBusy = {true, true, true, false, false, true, true};
  const std::string_view line = text.substr(0, text.find('\n'));
  if (line.size() == text.size() || !line.starts_with("cpu ")) return std::nullopt;
  std::string_view rest = line.substr(4);
  std::uint64_t ticks = 0;
  for (const bool is_busy : kIsBusy) {
    rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
    const auto end = std::min(rest.find(' '), rest.size());
    const auto value = parse_u64(rest.substr(0, end));
    if (!value) return std::nullopt;
    if (is_busy) ticks += *value;
    rest.remove_prefix(end);
  }
  return ticks;
}

std::uint64_t CpuIntegral::add(std::int64_t now_ns, std::uint64_t busy_ticks) noexcept {
  if (started_) {
    const auto elapsed_ns = static_cast<double>(std::max<std::int64_t>(now_ns - last_ns_, 0));
    // Some kernels let single columns of /proc/stat fall.
    const std::uint64_t ticks = busy_ticks > last_ticks_ ? busy_ticks - last_ticks_ : 0;
    pending_ns_ += static_cast<double>(ticks) * static_cast<double>(tick_ns_);
    const double counted_ns = std::min(pending_ns_, elapsed_ns * cpus_);
    pending_ns_ -= counted_ns;
    busy_ns_ += counted_ns;
    elapsed_ns_ += elapsed_ns;
  }
  started_ = true;
  last_ns_ = now_ns;
  last_ticks_ = busy_ticks;
  const double nanojoules = idle_watts_ * cpus_ * elapsed_ns_ + (busy_watts_ - idle_watts_) * busy_ns_;
  return static_cast<std::uint64_t>(nanojoules * 1e-3);
}

CpuModel::CpuModel(ChannelInfo channel, const std::filesystem::path& stat, const CpuIntegral& integral)
    : channels_{std::move(channel)}, integral_(integral), fd_(::open(stat.c_str(), O_RDONLY | O_CLOEXEC)) {
  const int error = fd_ < 0 ? errno : read_ticks().error;
  if (error == 0) return;
  if (fd_ >= 0) ::close(fd_);
  const bool is_denied = error == EACCES || error == EPERM;
  throw Error(is_denied ? ErrorKind::kPermission : ErrorKind::kUnavailable,
              error == EBADMSG ? "CPU times cannot be read: the file is not what the kernel writes"
                               : "CPU times cannot be read: " + std::generic_category().message(error),
              stat.string(), error, error == ENOENT ? "sudo mount -t proc proc /proc" : "");
}

CpuModel::~CpuModel() { ::close(fd_); }

Reading CpuModel::read_ticks() const noexcept {
  std::array<char, 256> text;  // the first line: ten numbers of 20 digits at most
  ssize_t size = 0;
  do {
    size = ::pread(fd_, text.data(), text.size(), 0);
  } while (size < 0 && errno == EINTR);
  if (size < 0) return {0, 0, ReadStatus::kFatal, errno};
  const auto ticks = parse_busy_ticks({text.data(), static_cast<std::size_t>(size)});
  if (!ticks) return {0, 0, ReadStatus::kRetry, EBADMSG};
  return {*ticks, 0, ReadStatus::kOk, 0};
}

void CpuModel::read(std::span<Reading> out) noexcept {
  out[0] = read_ticks();
  if (out[0].status == ReadStatus::kOk) out[0].count = integral_.add(now_ns(), out[0].count);
}

}  // namespace powerprobe

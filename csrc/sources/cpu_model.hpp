// SPDX-License-Identifier: MIT
// The estimate for machines without counters: watts per CPU by micro-architecture, times CPU time. Opened on the
// caller's thread, read by its sampler.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>
#include <vector>

#include "core/source.hpp"
#include "sources/cpu_model_data.hpp"
#include "sources/found.hpp"

namespace powerprobe {

// One channel, "cpu", for the whole machine: every CPU takes its idle watts all the time and the rest of its busy watts
// while it runs something. A refusal where /proc/stat cannot be used.
void find_cpu_model(const Roots& roots, const Wanted& wanted, Found& found);

struct CommandEnergy {
  double joules;
  double lower;
  double upper;
};

// The share of a command that used so much CPU time: that of CPUs busy for so long, their idle watts included. So the
// shares of all commands and the watts of idle CPUs add up to the machine's estimate. The bounds are the published
// range.
CommandEnergy command_energy(const CpuCoefficients& coefficients, double cpu_seconds);

// The rest is here for the tests.

// CPU time that all CPUs together spent at work, in ticks of USER_HZ, from the text of /proc/stat; nothing where it is
// not such a text. At work are user (guests are in it), nice, system, irq and softirq. Idle and waiting for a disk are
// not, and neither is stolen time: in it the hypervisor ran somebody else.
std::optional<std::uint64_t> parse_busy_ticks(std::string_view text) noexcept;

// Energy from time and CPU time. CPU time comes in ticks of some 10 ms, so it is counted no faster than the CPUs can
// work it off: no interval ever takes more than all of them busy, nor less than all of them idle.
class CpuIntegral {
 public:
  CpuIntegral(double idle_watts, double busy_watts, int cpus, std::int64_t tick_ns) noexcept
      : idle_watts_(idle_watts), busy_watts_(busy_watts), cpus_(cpus), tick_ns_(tick_ns) {}

  // Microjoules since the first call.
  std::uint64_t add(std::int64_t now_ns, std::uint64_t busy_ticks) noexcept;

 private:
  double idle_watts_;
  double busy_watts_;
  int cpus_;
  std::int64_t tick_ns_;
  bool started_ = false;
  std::int64_t last_ns_ = 0;
  std::uint64_t last_ticks_ = 0;
  double pending_ns_ = 0.0;  // CPU time seen but not yet counted
  double elapsed_ns_ = 0.0;
  double busy_ns_ = 0.0;
};

class CpuModel : public Source {
 public:
  // Throws Error where /proc/stat cannot be used.
  CpuModel(ChannelInfo channel, const std::filesystem::path& stat, const CpuIntegral& integral);
  ~CpuModel() override;

  [[nodiscard]] const std::vector<ChannelInfo>& channels() const noexcept override { return channels_; }
  void read(std::span<Reading> out) noexcept override;

 private:
  [[nodiscard]] Reading read_ticks() const noexcept;

  std::vector<ChannelInfo> channels_;
  CpuIntegral integral_;
  int fd_;
};

}  // namespace powerprobe

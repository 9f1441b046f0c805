// SPDX-License-Identifier: MIT
#include "counter.hpp"

#include <fcntl.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "sources/perf_event.hpp"
#include "sources/rapl_perf.hpp"
#include "sources/sysfs.hpp"

namespace bench {
namespace {

constexpr std::size_t kEvents = 3;  // package, core and dram of one package

// The `msr` PMU's `tsc` event: it costs what a RAPL event costs but for the register's own reading.
std::uint32_t msr_type() {
  const auto text = powerprobe::try_read_text("/sys/bus/event_source/devices/msr/type");
  return text ? static_cast<std::uint32_t>(powerprobe::parse_u64(*text).value_or(0)) : 0;
}

int open_event(std::uint32_t type, int cpu, int leader) {
  perf_event_attr attr{};
  attr.size = sizeof attr;
  attr.type = type;
  attr.read_format = PERF_FORMAT_GROUP | PERF_FORMAT_TOTAL_TIME_ENABLED;
  return static_cast<int>(::syscall(SYS_perf_event_open, &attr, -1, cpu, leader, PERF_FLAG_FD_CLOEXEC));
}

// A file in memory with a number in it, for machines that let nobody have a perf event.
int open_file() {
  std::string name = "/dev/shm/powerprobe_bench_XXXXXX";
  const int fd = ::mkstemp(name.data());
  if (fd < 0 || ::write(fd, "1234567\n", 8) != 8) {
    throw powerprobe::Error(powerprobe::ErrorKind::kUnavailable, "cannot write " + name, name, errno);
  }
  ::unlink(name.c_str());
  return fd;
}

// Reads that file the way the powercap source reads its own.
class FileSource final : public powerprobe::Source {
 public:
  FileSource() : fd_(open_file()) {
    powerprobe::ChannelInfo info;
    info.name = "package-0";
    info.source = "bench";
    info.joules_per_count = 1e-6;
    info.stale_ns = 1'000'000;
    channels_.push_back(info);
  }
  ~FileSource() override { ::close(fd_); }

  [[nodiscard]] const std::vector<powerprobe::ChannelInfo>& channels() const noexcept override { return channels_; }
  void read(std::span<powerprobe::Reading> out) noexcept override {
    std::array<char, 32> text;
    const ssize_t length = ::pread(fd_, text.data(), text.size(), 0);
    // What is in it never changes; a counter that moves lets the sampler publish.
    out[0] = {.count = ++count_, .status = length > 0 ? powerprobe::ReadStatus::kOk : powerprobe::ReadStatus::kRetry};
  }

 private:
  int fd_;
  std::uint64_t count_ = 0;
  std::vector<powerprobe::ChannelInfo> channels_;
};

}  // namespace

int counter_cpu() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return 0;
  for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) return static_cast<int>(cpu);
  }
  return 0;
}

BareCounter::BareCounter() {
  const std::uint32_t type = msr_type();
  if (type != 0) fd_ = open_event(type, counter_cpu(), -1);
  is_perf_ = fd_ >= 0;
  for (std::size_t i = 1; is_perf_ && i < kEvents; ++i) is_perf_ = open_event(type, counter_cpu(), fd_) >= 0;
  if (!is_perf_) fd_ = open_file();
}

BareCounter::~BareCounter() { ::close(fd_); }  // the group's members go with the process

bool BareCounter::read() noexcept {
  std::array<std::uint64_t, 2 + kEvents> buffer;
  return (is_perf_ ? ::read(fd_, buffer.data(), sizeof buffer) : ::pread(fd_, buffer.data(), 32, 0)) > 0;
}

std::string BareCounter::what() const {
  return is_perf_ ? "a perf group of " + std::to_string(kEvents) + " events (msr/tsc)" : "a file (no perf event may be opened here)";
}

std::unique_ptr<powerprobe::Source> open_counter(const BareCounter& like) {
  if (!like.is_perf()) return std::make_unique<FileSource>();
  auto source = std::make_unique<powerprobe::RaplPerf>();
  for (const char* name : {"package-0", "core-0", "dram-0"}) {
    powerprobe::ChannelInfo info;
    info.name = name;
    info.source = "rapl_perf";
    info.joules_per_count = 1e-9;
    info.stale_ns = 1'000'000;
    info.cpu = counter_cpu();
    if (const int error = source->add(info, {msr_type(), 0, counter_cpu()})) {
      throw powerprobe::Error(powerprobe::ErrorKind::kUnavailable, "cannot open the msr PMU's tsc event", {}, error);
    }
  }
  return source;
}

int stay_on_one_cpu() {
  const int cpu = counter_cpu();
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(cpu), &set);
  ::sched_setaffinity(0, sizeof set, &set);
  return cpu;
}

}  // namespace bench

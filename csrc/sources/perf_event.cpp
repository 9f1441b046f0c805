// SPDX-License-Identifier: MIT
#include "sources/perf_event.hpp"

#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "core/clock.hpp"

namespace powerprobe {
namespace {

// A group is read as: number of events, nanoseconds it has been enabled, one count per event (perf_event_open(2)).
constexpr std::uint64_t kReadFormat = PERF_FORMAT_GROUP | PERF_FORMAT_TOTAL_TIME_ENABLED;
constexpr std::size_t kHeaderWords = 2;

constexpr std::uint64_t kSignBit = std::uint64_t{1} << 63;

// Events whose CPU went away keep their last count and can still be read, but their time stands still. The kernel's
// clock may do so for a tick (10 ms at most) where the TSC is not stable; longer than this it does not.
constexpr std::int64_t kDeadAfterNs = 100'000'000;

int perf_event_open(const PerfEvent& event, int leader) noexcept {
  // Everything else stays zero: RAPL's PMU refuses sampling, exclude bits and tasks (EINVAL).
  perf_event_attr attr{};
  attr.type = event.type;
  attr.size = sizeof(attr);
  attr.config = event.config;
  attr.read_format = kReadFormat;
  constexpr int kNoTask = -1;
  return static_cast<int>(::syscall(SYS_perf_event_open, &attr, kNoTask, event.cpu, leader,
                                    static_cast<unsigned long>(PERF_FLAG_FD_CLOEXEC)));
}

void fail(std::span<Reading> out, ReadStatus status, int error) noexcept {
  for (Reading& reading : out) {
    reading = {};
    reading.status = status;
    reading.error = error;
  }
}

ReadStatus status_of(int error) noexcept {
  switch (error) {
    case EAGAIN:
    case EBUSY:
    case EINTR:
    case ENOMEM:  // the kernel allocates a buffer for each group read
      return ReadStatus::kRetry;
    case ENODEV:
    case ENXIO:
      return ReadStatus::kGone;
    default:
      return ReadStatus::kFatal;
  }
}

}  // namespace

PerfEvents::~PerfEvents() {
  // Members before their leader: closing a leader first would make each member a leader for a moment.
  for (auto fd = fds_.rbegin(); fd != fds_.rend(); ++fd) ::close(*fd);
}

int PerfEvents::add(const PerfEvent& event) {
  // Room first: what throws after the event is open would lose its descriptor.
  fds_.reserve(fds_.size() + 1);
  groups_.reserve(groups_.size() + 1);
  buffer_.resize(kHeaderWords + fds_.size() + 1);
  if (!groups_.empty()) {
    if (const int fd = perf_event_open(event, groups_.back().leader); fd >= 0) {
      fds_.push_back(fd);
      ++groups_.back().size;
      return 0;
    }
  }
  const int fd = perf_event_open(event, -1);
  if (fd < 0) return errno;
  fds_.push_back(fd);
  Group group;
  group.leader = fd;
  group.size = 1;
  groups_.push_back(group);
  return 0;
}

void PerfEvents::read(std::span<Reading> out) noexcept {
  for (Group& group : groups_) {
    read_group(group, out.first(group.size));
    out = out.subspan(group.size);
  }
}

void PerfEvents::read_group(Group& group, std::span<Reading> out) noexcept {
  const std::size_t words = kHeaderWords + group.size;
  ssize_t size = 0;
  do {
    size = ::read(group.leader, buffer_.data(), words * sizeof(std::uint64_t));
  } while (size < 0 && errno == EINTR);
  if (size < 0) return fail(out, status_of(errno), errno);
  // No bytes: the kernel could not go on counting. Fewer members: it took the group apart because its CPU went away.
  if (static_cast<std::size_t>(size) != words * sizeof(std::uint64_t) || buffer_[0] != group.size) {
    return fail(out, ReadStatus::kGone, ENODEV);
  }
  if (buffer_[1] != group.enabled_ns) {
    group.enabled_ns = buffer_[1];
    group.standing_since = 0;
  } else if (group.standing_since == 0) {
    group.standing_since = now_ns();
  } else if (now_ns() - group.standing_since > kDeadAfterNs) {
    return fail(out, ReadStatus::kGone, ENODEV);
  }
  for (std::size_t i = 0; i < group.size; ++i) {
    out[i] = {};
    out[i].count = buffer_[kHeaderWords + i] ^ kSignBit;
    // The kernel brings it up to date right before it reads the counters, interrupts off (kernel/events/core.c).
    out[i].clock_ns = buffer_[1];
  }
}

}  // namespace powerprobe

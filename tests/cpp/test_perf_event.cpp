// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <set>
#include <vector>

#include "core/clock.hpp"
#include "one_watt.hpp"
#include "sources/perf_event.hpp"

using namespace powerprobe;

namespace {

// Real events from here on: without them there is nothing to test, and the reason is printed.
#define SKIP_WITHOUT_MSR_PMU()                   \
  if (const auto reason = one_watt::missing()) { \
    MESSAGE("skipped: " << *reason);             \
    return;                                      \
  }

PerfEvent tsc(int cpu = 0) { return {one_watt::msr_type(), 0, cpu}; }

std::set<int> open_files() {
  std::set<int> fds;
  for (int fd = 0; fd < 256; ++fd) {
    if (::fcntl(fd, F_GETFD) != -1) fds.insert(fd);
  }
  return fds;
}

// The descriptor that adding this event opened: a test may do to it what a machine does seldom.
int add_and_find(PerfEvents& events, const PerfEvent& event) {
  const std::set<int> before = open_files();
  REQUIRE(events.add(event) == 0);
  for (const int fd : open_files()) {
    if (before.count(fd) == 0) return fd;
  }
  FAIL("no descriptor was opened");
  return -1;
}

std::vector<Reading> read_all(PerfEvents& events) {
  std::vector<Reading> readings(events.size());
  events.read(readings);
  return readings;
}

}  // namespace

TEST_CASE("events of one CPU are one group and one system call, each with its own count") {
  SKIP_WITHOUT_MSR_PMU();
  PerfEvents events;
  REQUIRE(events.add(tsc()) == 0);
  REQUIRE(events.add(one_watt::dummy(0)) == 0);  // stands still
  REQUIRE(events.add(tsc()) == 0);

  const auto first = read_all(events);
  const auto second = read_all(events);

  CHECK(events.groups() == 1);
  for (const auto& reading : second) CHECK(reading.status == ReadStatus::kOk);
  CHECK(second[0].count > first[0].count);
  CHECK(second[1].count == first[1].count);
  CHECK(second[2].count > first[2].count);
}

TEST_CASE("an event that cannot join leads a group of its own and keeps its place") {
  SKIP_WITHOUT_MSR_PMU();
  PerfEvents events;
  REQUIRE(events.add(tsc(0)) == 0);
  if (events.add(tsc(1)) != 0) {
    MESSAGE("skipped: this machine has one CPU");
    return;
  }
  REQUIRE(events.add(one_watt::dummy(1)) == 0);
  REQUIRE(events.add(tsc(0)) == 0);

  const auto first = read_all(events);
  const auto second = read_all(events);

  CHECK(events.groups() == 3);
  for (const std::size_t i : {0u, 1u, 3u}) CHECK(second[i].count > first[i].count);
  CHECK(second[2].count == first[2].count);
}

TEST_CASE("where the kernel refuses the group, events are read one by one") {
  SKIP_WITHOUT_MSR_PMU();
  PerfEvents events;
  // A leader that is no longer an event refuses every member (EBADF), as another PMU's would (EINVAL).
  const int leader = add_and_find(events, tsc());
  const int copy = ::dup(leader);
  const int null = ::open("/dev/null", O_RDONLY);
  REQUIRE(::dup2(null, leader) == leader);
  REQUIRE(events.add(tsc()) == 0);
  REQUIRE(::dup2(copy, leader) == leader);

  const auto first = read_all(events);
  const auto second = read_all(events);

  CHECK(events.groups() == 2);
  for (const std::size_t i : {0u, 1u}) {
    CHECK(second[i].status == ReadStatus::kOk);
    CHECK(second[i].count > first[i].count);
  }
  ::close(copy);
  ::close(null);
}

TEST_CASE("what cannot be opened gives its errno and leaves the others alone") {
  SKIP_WITHOUT_MSR_PMU();
  PerfEvents events;
  REQUIRE(events.add(tsc()) == 0);
  CHECK(events.add({0x7fffffff, 0, 0}) == ENOENT);
  CHECK(events.add({one_watt::msr_type(), 0, 100'000}) != 0);
  CHECK(events.size() == 1);
  CHECK(events.groups() == 1);
  CHECK(read_all(events).front().status == ReadStatus::kOk);
}

TEST_CASE("a count begins at 2^63, so that one that falls below its beginning is seen to fall") {
  SKIP_WITHOUT_MSR_PMU();
  PerfEvents events;
  REQUIRE(events.add(tsc()) == 0);
  const std::uint64_t count = read_all(events).front().count;
  CHECK(count > std::uint64_t{1} << 63);
  CHECK(count < (std::uint64_t{1} << 63) + (std::uint64_t{1} << 50));
}

TEST_CASE("an event whose time stands still has lost its CPU") {
  SKIP_WITHOUT_MSR_PMU();
  PerfEvents events;
  const int fd = add_and_find(events, tsc());
  CHECK(read_all(events).front().status == ReadStatus::kOk);
  REQUIRE(::ioctl(fd, PERF_EVENT_IOC_DISABLE, 0) == 0);

  Reading reading = read_all(events).front();
  CHECK(reading.status == ReadStatus::kOk);  // the clock may stand for a moment
  const std::int64_t give_up_ns = now_ns() + 10'000'000'000;
  while (reading.status == ReadStatus::kOk && now_ns() < give_up_ns) reading = read_all(events).front();

  CHECK(reading.status == ReadStatus::kGone);
  CHECK(reading.error == ENODEV);
}

TEST_CASE("an event that was away for a moment goes on") {
  SKIP_WITHOUT_MSR_PMU();
  PerfEvents events;
  const int fd = add_and_find(events, tsc());
  for (int i = 0; i < 3; ++i) {
    REQUIRE(::ioctl(fd, PERF_EVENT_IOC_DISABLE, 0) == 0);
    const std::int64_t begin_ns = now_ns();
    bool is_ok = true;
    for (int k = 0; k < 5; ++k) is_ok = is_ok && read_all(events).front().status == ReadStatus::kOk;
    if (now_ns() - begin_ns < 50'000'000) CHECK(is_ok);
    REQUIRE(::ioctl(fd, PERF_EVENT_IOC_ENABLE, 0) == 0);
    ::usleep(60'000);  // together longer than what a lost CPU is given
    CHECK(read_all(events).front().status == ReadStatus::kOk);
  }
}

TEST_CASE("each way of failing has its status and errno") {
  SKIP_WITHOUT_MSR_PMU();
  struct Case {
    int fd;
    ReadStatus status;
    int error;
  };
  int pipes[2];
  REQUIRE(::pipe2(pipes, O_NONBLOCK) == 0);
  const int end_of_file = ::open("/dev/null", O_RDONLY);
  const int folder = ::open("/", O_RDONLY);
  for (const Case& one : {Case{end_of_file, ReadStatus::kGone, ENODEV}, Case{pipes[0], ReadStatus::kRetry, EAGAIN},
                          Case{folder, ReadStatus::kFatal, EISDIR}}) {
    PerfEvents events;
    const int fd = add_and_find(events, tsc());
    REQUIRE(::dup2(one.fd, fd) == fd);
    const Reading reading = read_all(events).front();
    CHECK(reading.status == one.status);
    CHECK(reading.error == one.error);
  }
  for (const int fd : {pipes[0], pipes[1], end_of_file, folder}) ::close(fd);
}

TEST_CASE("one group that fails does not take another down") {
  SKIP_WITHOUT_MSR_PMU();
  PerfEvents events;
  const int lost = add_and_find(events, tsc(0));
  if (events.add(tsc(1)) != 0) {
    MESSAGE("skipped: this machine has one CPU");
    return;
  }
  const int null = ::open("/dev/null", O_RDONLY);
  REQUIRE(::dup2(null, lost) == lost);
  const auto readings = read_all(events);
  CHECK(readings[0].status == ReadStatus::kGone);
  CHECK(readings[1].status == ReadStatus::kOk);
  ::close(null);
}

TEST_CASE("no descriptor outlives its events") {
  SKIP_WITHOUT_MSR_PMU();
  const auto before = open_files();
  {
    PerfEvents events;
    for (int i = 0; i < 5; ++i) REQUIRE(events.add(tsc()) == 0);
    CHECK(open_files().size() == before.size() + 5);
  }
  CHECK(open_files() == before);
}

// SPDX-License-Identifier: MIT
// The sampler at 1 kHz, sleeping between its polls, next to the smallest loop that sleeps and reads as often. CPU time of
// the thread that does it.
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <thread>

#include "core/clock.hpp"
#include "core/sampler.hpp"
#include "counter.hpp"
#include "pairs.hpp"

namespace bench {
namespace {

constexpr std::int64_t kPeriodNs = 1'000'000;
constexpr std::int64_t kPolls = 400;

// For each poll, so that a tick that is missed on a busy machine makes nothing cheaper; then for a second of them.
double per_second(std::int64_t cpu_ns, std::uint64_t polls) {
  if (polls == 0) throw std::runtime_error("the sampler did not poll for 0.4 s: this machine is too busy");
  return static_cast<double>(cpu_ns) / static_cast<double>(polls) / kPeriodNs;
}

}  // namespace

int cadence(int rounds) {
  stay_on_one_cpu();
  BareCounter bare;
  powerprobe::Sampler sampler(open_counter(bare), 0, {.mode = powerprobe::Mode::kPoll, .period_ns = kPeriodNs, .capacity = 1 << 12});
  sampler.start();

  const auto ours = [&] {
    sampler.ask();
    ::usleep(20'000);
    const powerprobe::SamplerStats before = sampler.stats();
    ::usleep(static_cast<useconds_t>(kPolls * kPeriodNs / 1000));
    const powerprobe::SamplerStats after = sampler.stats();
    sampler.release();
    return per_second(after.cpu_ns - before.cpu_ns, after.polls - before.polls);
  };
  const auto limit = [&] {
    std::int64_t cpu_ns = 0;
    std::thread([&] {
      std::int64_t longest = 0;
      const std::int64_t begin = powerprobe::thread_cpu_ns();
      std::int64_t tick = powerprobe::now_ns();
      for (std::int64_t i = 0; i < kPolls; ++i) {
        tick += kPeriodNs;
        const timespec deadline{tick / 1'000'000'000, tick % 1'000'000'000};
        ::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &deadline, nullptr);
        const std::int64_t before = powerprobe::now_ns();
        (void)bare.read();
        longest = std::max(longest, powerprobe::now_ns() - before);
      }
      if (longest > 0) cpu_ns = powerprobe::thread_cpu_ns() - begin;
    }).join();
    return per_second(cpu_ns, kPolls);
  };
  pairs(rounds, bare.what(), ours, limit);
  return 0;
}

}  // namespace bench

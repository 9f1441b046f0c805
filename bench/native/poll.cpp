// SPDX-License-Identifier: MIT
// One poll of the sampler, all of it: its loop, its two time stamps, the source, unwrapping, and publishing an edge for each
// channel that moved. Next to it a loop of the system call and the two time stamps. Both in CPU time of their thread.
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "core/clock.hpp"
#include "core/sampler.hpp"
#include "counter.hpp"
#include "pairs.hpp"

namespace bench {
namespace {

constexpr std::int64_t kPolls = 20'000;

// Passes readings on and notes the CPU time of its thread after each kPolls of them.
class Timed final : public powerprobe::Source {
 public:
  Timed(std::unique_ptr<powerprobe::Source> source, bool moving) : source_(std::move(source)), moving_(moving) {}

  [[nodiscard]] const std::vector<powerprobe::ChannelInfo>& channels() const noexcept override { return source_->channels(); }
  void read(std::span<powerprobe::Reading> out) noexcept override {
    if (++reads_ % kPolls == 0) {
      const std::int64_t now = powerprobe::thread_cpu_ns();
      cost_ns_.store(now - std::exchange(last_ns_, now), std::memory_order_relaxed);  // published by the next line
      laps_.fetch_add(1, std::memory_order_release);
    }
    source_->read(out);
    if (!moving_) {
      for (powerprobe::Reading& reading : out) reading.count = 0;
    }
  }

  // Waits for a lap that is run at full speed from its begin to its end. Another thread; yields the CPU, which is shared.
  double lap() const {
    const std::int64_t begin = laps_.load(std::memory_order_acquire);
    while (laps_.load(std::memory_order_acquire) < begin + 2) ::usleep(2000);
    return static_cast<double>(cost_ns_.load(std::memory_order_relaxed)) / kPolls;
  }

 private:
  std::unique_ptr<powerprobe::Source> source_;
  bool moving_;
  std::int64_t reads_ = 0;
  std::int64_t last_ns_ = 0;
  std::atomic<std::int64_t> cost_ns_{0};
  std::atomic<std::int64_t> laps_{0};
};

}  // namespace

int poll(int rounds, bool moving) {
  stay_on_one_cpu();
  BareCounter bare;
  auto source = std::make_unique<Timed>(open_counter(bare), moving);
  const Timed& timed = *source;
  // A period that is always over: the sampler never sleeps while it is asked.
  powerprobe::Sampler sampler(std::move(source), 0, {.mode = powerprobe::Mode::kPoll, .period_ns = 1, .capacity = 1 << 12});
  sampler.start();

  const auto ours = [&] {
    sampler.ask();
    const double cost = timed.lap();
    sampler.release();
    return cost;
  };
  const auto limit = [&] {
    std::int64_t longest = 0;
    const std::int64_t begin = powerprobe::thread_cpu_ns();
    for (std::int64_t i = 0; i < kPolls; ++i) {
      const std::int64_t before = powerprobe::now_ns();
      (void)bare.read();
      longest = std::max(longest, powerprobe::now_ns() - before);
    }
    const std::int64_t cost = powerprobe::thread_cpu_ns() - begin;
    return longest > 0 ? static_cast<double>(cost) / kPolls : 0.0;
  };
  pairs(rounds, bare.what(), ours, limit);
  return 0;
}

}  // namespace bench

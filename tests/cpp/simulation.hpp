// SPDX-License-Identifier: MIT
// A sampler and counters in virtual time: how late the thread wakes, how long a poll takes and when the counters step is made up,
// so that what a pacer decides can be held against the truth, the same in every run.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <random>
#include <utility>
#include <vector>

#include "core/pacer.hpp"
#include "core/source.hpp"
#include "steps.hpp"

namespace powerprobe::test {

constexpr std::int64_t kStart = 100 * kMilli;  // of the simulation: a while after the clock's, as on any machine

class Simulation {
 public:
  struct Counter {
    Steps steps;
    std::size_t seen = 0;             // steps before the last poll
    std::vector<std::int64_t> error_ns;  // of each step that was located: our place for it less the truth
    std::vector<std::int64_t> gap_ns;    // of each time that it was seen to have moved
    std::uint64_t passed = 0;            // steps since the count began
    bool is_stamped = false;
    bool is_estimate = false;            // moves whenever it is read
    std::int64_t ends_ns = INT64_MAX;
    std::int64_t blurred_ns = 0;         // where its stamps are placed
  };

  Simulation(Pacing& the_pacer, std::vector<Steps> steps) : pacer(the_pacer) {
    for (Steps& each : steps) counters.emplace_back().steps = std::move(each);
  }

  // How late the thread wakes: as on a virtual machine, with a tail.
  std::function<std::int64_t()> latency_ns = [this] {
    const auto usual = static_cast<std::int64_t>(20'000 + random() % 6'000);
    return random() % 100 == 0 ? usual + static_cast<std::int64_t>(random() % 200'000) : usual;
  };
  std::function<std::int64_t()> between_polls_ns = [] { return 50; };
  std::int64_t read_ns = 700;
  std::int64_t wake_cpu_ns = 16'000;  // CPU time of going to sleep and waking up
  bool hurry = false;

  // Until that time; what is counted begins at count_from_ns.
  void run(std::int64_t until_ns, std::int64_t count_from_ns = 0) {
    while (now < until_ns) {
      if (now >= count_from_ns && cpu_at_count < 0) begin_count();
      const std::int64_t before = now;
      now += read_ns;
      std::vector<Sight> sights(counters.size());
      for (std::size_t i = 0; i < counters.size(); ++i) sights[i] = look(counters[i], before);
      polled = before;
      cpu += read_ns + 50;
      due = pacer.polled(before, now, sights);
      if (due == Pacing::kPlan) due = pacer.plan(now, cpu, hurry);
      now += between_polls_ns();
      if (due > now) {
        now = due + latency_ns();
        cpu += wake_cpu_ns;
        ++sleeps;
      }
    }
  }

  // While the sampler sleeps: some time before it would have woken.
  void come_in_a_hurry() {
    now = std::max(polled + read_ns, now - kMilli / 2);
    due = pacer.hurry(now);
    now = std::max(now, due + latency_ns());
  }

  void begin_count() {
    cpu_at_count = cpu;
    counted_from = now;
    for (Counter& counter : counters) {
      counter.error_ns.clear();
      counter.gap_ns.clear();
      counter.passed = 0;
    }
  }

  [[nodiscard]] double cpu_share() const {
    return static_cast<double>(cpu - cpu_at_count) / static_cast<double>(now - counted_from);
  }
  [[nodiscard]] double located_share(std::size_t i = 0) const {
    return static_cast<double>(counters[i].error_ns.size()) / static_cast<double>(counters[i].passed);
  }
  // Of all times that it was seen to have moved: how many as many as there were steps, and in how narrow a gap most of them.
  [[nodiscard]] double seen_share(std::size_t i = 0) const {
    return static_cast<double>(counters[i].gap_ns.size()) / static_cast<double>(counters[i].passed);
  }
  [[nodiscard]] double median_gap_us(std::size_t i = 0) const { return median_us(counters[i].gap_ns); }
  [[nodiscard]] double median_error_us(std::size_t i = 0) const {
    std::vector<std::int64_t> errors = counters[i].error_ns;
    for (std::int64_t& error : errors) error = std::abs(error);
    return median_us(std::move(errors));
  }

  Pacing& pacer;
  std::vector<Counter> counters;
  std::mt19937_64 random{7};
  std::int64_t now = kStart;
  std::int64_t polled = 0;  // begin of the last poll
  std::int64_t due = 0;     // of the next, as the pacer said
  std::int64_t cpu = 0;
  std::uint64_t sleeps = 0;

 private:
  static double median_us(std::vector<std::int64_t> values) {
    if (values.empty()) return 1e9;
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return static_cast<double>(*middle) * 1e-3;
  }

  Sight look(Counter& counter, std::int64_t before) {
    const std::int64_t read_at = before + read_ns / 2;
    if (read_at >= counter.ends_ns) return {.ended = true};
    if (counter.is_estimate) return {.stepped = true, .t_ns = now, .gap_ns = now - polled};
    std::size_t at = counter.seen;
    while (at < counter.steps.size() && counter.steps[at] <= read_at) ++at;
    Sight sight;
    if (at == counter.seen) return sight;
    sight = {.stepped = true, .t_ns = now, .gap_ns = now - polled};
    if (counter.is_stamped) {
      // As StampMap does: as well as the polls saw it, or as the last one that was seen well and the drift since.
      counter.blurred_ns = std::min(counter.blurred_ns + 1'200, sight.gap_ns);
      sight = {.stepped = true, .t_ns = counter.steps[at - 1] + counter.blurred_ns / 2, .gap_ns = counter.blurred_ns};
    }
    counter.passed += at - counter.seen;
    counter.gap_ns.push_back(sight.gap_ns);
    if (at == counter.seen + 1 && sight.gap_ns <= pacer.tight_ns()) {
      counter.error_ns.push_back(sight.t_ns - sight.gap_ns / 2 - counter.steps[at - 1]);
    }
    counter.seen = at;
    return sight;
  }

  std::int64_t cpu_at_count = -1;
  std::int64_t counted_from = 0;
};

inline ChannelInfo counter_of(std::int64_t update_period_ns) {
  ChannelInfo info;
  info.name = "package-0";
  info.joules_per_count = 6e-5;
  info.update_period_ns = update_period_ns;
  return info;
}

}  // namespace powerprobe::test

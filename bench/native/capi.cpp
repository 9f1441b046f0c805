// SPDX-License-Identifier: MIT
// The C interface: a region's two marks next to two readings of the clock, and the energy of one interval whose edges are there,
// next to finding its ends in the same edges and drawing a line between two of them.
#include "capi/powerprobe.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <ctime>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "capi/handle.hpp"
#include "core/clock.hpp"
#include "pairs.hpp"
#include "simulated.hpp"

namespace bench {
namespace {

constexpr std::int64_t kForNs = 60'000'000'000;
constexpr useconds_t kTrackUs = 700'000;
constexpr int kMarks = 200'000;
constexpr int kQuestions = 100'000;

struct Close {
  void operator()(pp_probe* probe) const noexcept { pp_close(probe); }
};
using Handle = std::unique_ptr<pp_probe, Close>;

// A probe on a counter that steps every millisecond, as C has it.
Handle handle() {
  std::vector<std::unique_ptr<powerprobe::Source>> sources;
  sources.push_back(std::make_unique<SimulatedCounter>("metronome", "const", kForNs, 1));
  auto probe = std::make_shared<powerprobe::Probe>(std::move(sources), powerprobe::SamplerOptions{});
  const std::array names = {probe->channels().front().name};
  probe->start();
  return Handle(new pp_probe{std::make_shared<powerprobe::capi::Opened>(std::move(probe), names)});
}

// Wherever it can, the sampler has a CPU of its own: what is asked is the cost of a mark, not of sharing one.
double clock_pair_ns() {
  timespec t{};
  std::int64_t sum = 0;
  const std::int64_t begin = powerprobe::thread_cpu_ns();
  for (int i = 0; i < 2 * kMarks; ++i) {
    ::clock_gettime(CLOCK_MONOTONIC, &t);
    sum += t.tv_nsec;
  }
  const std::int64_t used = powerprobe::thread_cpu_ns() - begin;
  if (sum == 0) throw std::runtime_error("the clock stands still");
  return static_cast<double>(used) / kMarks;
}

void must(pp_status status) {
  if (status != PP_OK) throw std::runtime_error(pp_last_error()->message);
}

}  // namespace

int mark_c(int rounds, bool asked) {
  const Handle probe = handle();
  if (asked) must(pp_ask(probe.get()));
  const auto ours = [&] {
    std::int64_t sum = 0;
    const std::int64_t begin = powerprobe::thread_cpu_ns();
    for (int i = 0; i < 2 * kMarks; ++i) sum += pp_mark(probe.get());
    const std::int64_t used = powerprobe::thread_cpu_ns() - begin;
    if (sum == 0) throw std::runtime_error("the clock stands still");
    return static_cast<double>(used) / kMarks;
  };
  pairs(rounds, asked ? "steps are tracked" : "each mark asks for the steps after it", ours, clock_pair_ns);
  return 0;
}

int energy_c(int rounds) {
  const Handle probe = handle();
  must(pp_ask(probe.get()));
  ::usleep(kTrackUs);
  std::array<pp_edge, 4096> edges{};
  std::uint64_t next = 0;
  std::size_t count = 0;
  must(pp_read_edges(probe.get(), 0, &next, edges.data(), edges.size(), &count, nullptr));
  if (count < 300) throw std::runtime_error("the sampler saw too few steps: this machine is too busy");
  // A hundred intervals of 1.5 ms among the newest edges, each asked about in turn.
  std::array<std::int64_t, 100> starts{};
  for (std::size_t i = 0; i < starts.size(); ++i) starts[i] = edges[count - 120 + i].t_ns + 300'000;
  must(pp_release(probe.get()));

  const auto ours = [&] {
    pp_joules energy = PP_JOULES_INIT;
    double sum = 0.0;
    const std::int64_t begin = powerprobe::thread_cpu_ns();
    for (std::size_t i = 0; i < kQuestions; ++i) {
      const std::int64_t start = starts[i * 37 % starts.size()];
      must(pp_energy(probe.get(), 0, start, start + 1'500'000, PP_SETTLE, &energy));
      sum += energy.joules;
    }
    const std::int64_t used = powerprobe::thread_cpu_ns() - begin;
    if (!(sum > 0.0)) throw std::runtime_error("no energy");
    return static_cast<double>(used) / kQuestions;
  };
  const auto total = [&](std::int64_t t_ns) {
    const auto after = std::upper_bound(edges.begin(), edges.begin() + static_cast<std::ptrdiff_t>(count), t_ns,
                                        [](std::int64_t t, const pp_edge& edge) { return t < edge.t_ns; });
    const pp_edge& before = *(after - 1);
    return before.joules + (after->joules - before.joules) * static_cast<double>(t_ns - before.t_ns) /
                               static_cast<double>(after->t_ns - before.t_ns);
  };
  const auto limit = [&] {
    double sum = 0.0;
    const std::int64_t begin = powerprobe::thread_cpu_ns();
    for (std::size_t i = 0; i < kQuestions; ++i) {
      const std::int64_t start = starts[i * 37 % starts.size()];
      sum += total(start + 1'500'000) - total(start);
    }
    const std::int64_t used = powerprobe::thread_cpu_ns() - begin;
    if (!(sum > 0.0)) throw std::runtime_error("no energy");
    return static_cast<double>(used) / kQuestions;
  };
  pairs(rounds, "1.5 ms among the newest edges", ours, limit);
  return 0;
}

}  // namespace bench

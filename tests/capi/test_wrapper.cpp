// SPDX-License-Identifier: MIT
// powerprobe.hpp as a program in C++17 sees it.
#include <utility>

#include "check.h"
#include "machine.h"
#include "powerprobe.hpp"
#include "threads.h"

int main() {
  const machine here = machine_make();
  {
    powerprobe::Probe probe(machine_options(&here));
    CHECK(probe.channel_count() == 1);
    CHECK(probe.channel(probe.channel(0).name) == 0);
    powerprobe::Region region(probe);
    std::int64_t start = 0;
    std::int64_t end = 0;
    {
      const powerprobe::Ask ask(probe);
      start = probe.mark();
      while (probe.mark() < start + 10'000'000) {
      }
      end = probe.mark();
      const pp_joules energy = probe.energy(start, end);
      CHECK(energy.lower > 0.0 && energy.lower <= energy.joules && energy.joules <= energy.upper);
      const powerprobe::Energies many = probe.energies({start, start}, {end, start});
      CHECK(many.joules.size() == 2 && many.joules[0] == energy.joules && many.joules[1] < energy.joules);
    }
    CHECK(pp_release(probe.get()) == PP_BAD_ARGUMENT);  // given back
    CHECK(region.end().energy().upper >= probe.energy(start, end).lower);
    try {
      (void)probe.channel("zebra");
      CHECK(!"thrown");
    } catch (const powerprobe::Error& error) {
      CHECK(error.status() == PP_BAD_ARGUMENT && std::string(error.what()).find("\"zebra\"") != std::string::npos);
    }
    powerprobe::Probe moved = std::move(probe);
    CHECK(probe.get() == nullptr && moved.channel_count() == 1);  // NOLINT(bugprone-use-after-move): what is left of it
  }
  for (const std::int64_t give_up = pp_now() + 20'000'000'000; threads_named("pp-") > 0;) CHECK(pp_now() < give_up);
  machine_remove(&here);
  return 0;
}

// SPDX-License-Identifier: MIT
// What a scripted board uses and shows, exact at every nanosecond; any thread, no state of its own.
//
// A milliwatt for a nanosecond is a picojoule: all is integers. Times are script time, energies are counted from script time 0.
#ifndef FAKE_NVML_ENERGY_H
#define FAKE_NVML_ENERGY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

__extension__ typedef __int128 picojoules;

struct piece {
  int64_t duration_ns;
  int64_t power_mw;
};

// Repeats for ever, in both directions of time.
struct waveform {
  struct piece* pieces;
  size_t count;
  int64_t period_ns;
  picojoules period_pj;
};

// Update k happens at phase + k * period + a whole number of nanoseconds within +-jitter that depends on seed and k alone.
struct updates {
  bool present;
  int64_t period_ns;
  int64_t phase_ns;
  int64_t jitter_ns;  // less than half the period, so that updates keep their order
  int64_t window_ns;  // what a power reading is the mean of; what a part-time counter sees
  uint64_t seed;
};

// Where the sum over a part-time counter's updates has come to, so that a question does not begin at update 0 again.
struct progress {
  bool begun;
  int64_t origin_ns;
  int64_t update;
  picojoules energy_pj;
};

picojoules energy_pj(const struct waveform* wave, int64_t t_ns);
int64_t update_ns(const struct updates* updates, int64_t k);
// The number of the last update at or before t.
int64_t last_update(const struct updates* updates, int64_t t_ns);
// The mean over the window that ends at t, rounded down.
int64_t mean_mw(const struct waveform* wave, int64_t t_ns, int64_t window_ns);
// What a counter that was at zero at the origin has taken up with update k: the waveform's energy ...
picojoules counted_pj(const struct waveform* wave, const struct updates* updates, int64_t origin_ns, int64_t k);
// ... or the sum, over the updates after the origin, of the mean over the window times the time since the update before.
picojoules seen_pj(const struct waveform* wave, const struct updates* updates, int64_t origin_ns, int64_t k,
                   struct progress* progress);

#endif

// SPDX-License-Identifier: MIT
// What a scripted board uses and shows, exact at every nanosecond; any thread, no state of its own.
#include "energy.h"

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

static int64_t later(int64_t a, int64_t b) { return a > b ? a : b; }

picojoules energy_pj(const struct waveform* wave, int64_t t_ns) {
  const int64_t round = floor_div(t_ns, wave->period_ns);
  picojoules energy = wave->period_pj * round;
  int64_t rest_ns = t_ns - round * wave->period_ns;
  for (size_t i = 0; rest_ns > 0; ++i) {
    const struct piece* piece = &wave->pieces[i];
    const int64_t part_ns = rest_ns < piece->duration_ns ? rest_ns : piece->duration_ns;
    energy += (picojoules)part_ns * piece->power_mw;
    rest_ns -= part_ns;
  }
  return energy;
}

// splitmix64. tests/python/fake_nvml.py computes the same.
static uint64_t mixed(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

int64_t update_ns(const struct updates* updates, int64_t k) {
  const uint64_t width = 2 * (uint64_t)updates->jitter_ns + 1;
  const int64_t jitter_ns = (int64_t)(mixed(mixed(updates->seed) ^ (uint64_t)k) % width) - updates->jitter_ns;
  return updates->phase_ns + k * updates->period_ns + jitter_ns;
}

int64_t last_update(const struct updates* updates, int64_t t_ns) {
  int64_t k = floor_div(t_ns - updates->phase_ns, updates->period_ns) + 1;
  while (update_ns(updates, k) > t_ns) --k;
  return k;
}

int64_t mean_mw(const struct waveform* wave, int64_t t_ns, int64_t window_ns) {
  return (int64_t)((energy_pj(wave, t_ns) - energy_pj(wave, t_ns - window_ns)) / window_ns);
}

picojoules counted_pj(const struct waveform* wave, const struct updates* updates, int64_t origin_ns, int64_t k) {
  return energy_pj(wave, later(update_ns(updates, k), origin_ns)) - energy_pj(wave, origin_ns);
}

picojoules seen_pj(const struct waveform* wave, const struct updates* updates, int64_t origin_ns, int64_t k,
                   struct progress* progress) {
  if (!progress->begun || progress->origin_ns != origin_ns || progress->update > k) {
    *progress = (struct progress){.begun = true, .origin_ns = origin_ns, .update = last_update(updates, origin_ns)};
  }
  while (progress->update < k) {
    const int64_t since_ns = later(update_ns(updates, progress->update), origin_ns);
    const int64_t at_ns = update_ns(updates, ++progress->update);
    const picojoules window_pj = energy_pj(wave, at_ns) - energy_pj(wave, at_ns - updates->window_ns);
    progress->energy_pj += window_pj * (at_ns - since_ns) / updates->window_ns;
  }
  return progress->energy_pj;
}

// SPDX-License-Identifier: MIT
// What most native benchmarks do: measure themselves and their limit in turn, and print each pair as one line of JSON. And all of
// their names.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

namespace bench {

// Prints first what is measured, then a pair for each round. Every other round begins with the limit, so that neither side
// always finds the caches that the other has left.
template <typename Ours, typename Limit>
void pairs(int rounds, const std::string& what, Ours&& ours, Limit&& limit) {
  std::printf("{\"what\": \"%s\"}\n", what.c_str());
  (void)ours();  // the first touch of everything is nobody's cost
  (void)limit();
  for (int round = 0; round < rounds; ++round) {
    double our_cost = 0.0;
    double limit_cost = 0.0;
    if (round % 2 == 0) {
      our_cost = ours();
      limit_cost = limit();
    } else {
      limit_cost = limit();
      our_cost = ours();
    }
    std::printf("{\"ours\": %.9g, \"limit\": %.9g}\n", our_cost, limit_cost);
    std::fflush(stdout);
  }
}

// The benchmarks. Costs are in the unit that the Python side gives them.
int publish(int rounds);                              // ns for each edge
int poll(int rounds, bool moving);                    // ns for each poll; whether the counters move between two of them
int cadence(int rounds);                              // CPU time of the sampler's thread over the time it polls at 1 kHz
int intervals(int rounds, bool jitter, bool sorted);  // ns for each interval
int mark_c(int rounds, bool asked);                   // ns for the two marks of a region
int energy_c(int rounds);                             // ns for each interval, asked one by one
int watts(int rounds);                                // W while somebody asks, and while nobody does

// These have no limit; the lines they print have names of their own.
int track(int rounds, std::string_view counter, bool realtime);              // "one-watt", or as SimulatedCounter's steps
int regions(int rounds, std::string_view load, std::string_view steps);  // as SimulatedCounter has them
int measure_10s(int rounds, std::string_view steps);
int nvml_calls(int rounds);  // CPU time of a call, ns

}  // namespace bench

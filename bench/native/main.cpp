// SPDX-License-Identifier: MIT
// powerprobe_bench NAME ROUNDS: one benchmark, one line of JSON for each round.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>

#include "pairs.hpp"

int main(int argc, char** argv) {
  const int rounds = argc == 3 ? std::atoi(argv[2]) : 0;
  if (rounds < 1) {
    std::fputs("usage: powerprobe_bench publish|poll-{moving,resting}|cadence|intervals-{metronome,jitter}-{sorted,random} ROUNDS\n", stderr);
    return 2;
  }
  const auto is = [&](const char* name) { return std::strcmp(argv[1], name) == 0; };
  try {
    if (is("publish")) return bench::publish(rounds);
    if (is("poll-moving")) return bench::poll(rounds, true);
    if (is("poll-resting")) return bench::poll(rounds, false);
    if (is("cadence")) return bench::cadence(rounds);
    if (is("intervals-metronome-sorted")) return bench::intervals(rounds, false, true);
    if (is("intervals-metronome-random")) return bench::intervals(rounds, false, false);
    if (is("intervals-jitter-sorted")) return bench::intervals(rounds, true, true);
    if (is("intervals-jitter-random")) return bench::intervals(rounds, true, false);
    std::fprintf(stderr, "no benchmark is called %s\n", argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", argv[1], error.what());
  }
  return 1;
}

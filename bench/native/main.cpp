// SPDX-License-Identifier: MIT
// powerprobe_bench NAME ROUNDS: one benchmark, one line of JSON for each round.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string_view>

#include "core/error.hpp"
#include "pairs.hpp"

namespace {

constexpr const char* kUsage =
    "usage: powerprobe_bench NAME ROUNDS, with NAME one of\n"
    "  publish, cadence, nvml-calls, mark-c-{asked,unasked}, energy-c, poll-{moving,resting}, watts,\n"
    "  intervals-{metronome,jitter}-{sorted,random},\n"
    "  {track,realtime}-{one-watt,metronome,shaken,ice-lake,stamped}, measure-{metronome,shaken,ice-lake,stamped},\n"
    "  {const,square,burst}-{metronome,shaken,ice-lake,stamped}\n";

// What this machine cannot have; said so by the exit status.
constexpr int kNotHere = 3;

int run(std::string_view name, int rounds) {
  if (name == "publish") return bench::publish(rounds);
  if (name == "poll-moving") return bench::poll(rounds, true);
  if (name == "poll-resting") return bench::poll(rounds, false);
  if (name == "cadence") return bench::cadence(rounds);
  if (name == "intervals-metronome-sorted") return bench::intervals(rounds, false, true);
  if (name == "intervals-metronome-random") return bench::intervals(rounds, false, false);
  if (name == "intervals-jitter-sorted") return bench::intervals(rounds, true, true);
  if (name == "intervals-jitter-random") return bench::intervals(rounds, true, false);
  if (name == "mark-c-asked") return bench::mark_c(rounds, true);
  if (name == "mark-c-unasked") return bench::mark_c(rounds, false);
  if (name == "energy-c") return bench::energy_c(rounds);
  if (name == "watts") return bench::watts(rounds);
  if (name == "nvml-calls") return bench::nvml_calls(rounds);
  const std::string_view what = name.substr(0, name.find('-'));
  const std::string_view counter = name.substr(std::min(what.size() + 1, name.size()));
  if (what == "track") return bench::track(rounds, counter, false);
  if (what == "realtime") return bench::track(rounds, counter, true);
  if (what == "measure") return bench::measure_10s(rounds, counter);
  if (what == "const" || what == "square" || what == "burst") return bench::regions(rounds, what, counter);
  throw std::invalid_argument("no benchmark is called that");
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc == 3 ? std::atoi(argv[2]) : 0;
  if (rounds < 1) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  try {
    return run(argv[1], rounds);
  } catch (const powerprobe::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    using enum powerprobe::ErrorKind;
    return error.kind() == kUnavailable || error.kind() == kPermission ? kNotHere : 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", argv[1], error.what());
    return 1;
  }
}

// SPDX-License-Identifier: MIT
// What this machine has: all sources opened, compared and for each physical domain the cheapest that is right chosen.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/source.hpp"
#include "sources/found.hpp"

namespace powerprobe {

struct Choice {
  ChannelInfo channel;
  double read_ns = 0.0;               // median time of one reading of the source object that the channel belongs to
  std::int64_t seen_period_ns = 0;    // how often it was seen to move; 0: it did not
  std::vector<std::string> others;    // other sources that read the same domain
  std::string disagreement;           // empty: they agree; else one sentence with the figures
};

struct Survey {
  Roots roots;
  std::vector<Choice> choices;  // parents set; the channels of a survey are one tree
  std::vector<Refusal> refusals;
};

// Names of the sources that count, in order of standing, then the model that may stand in for them.
std::span<const std::string> counter_sources();
const std::string& estimate_source();

// Opens every source named (all when empty), reads each some hundred times and closes it again; takes about 0.1 s where there
// are counters. A source whose readings may hang (Source::thread()) is read once and not compared: its choices have no
// seen_period_ns. With `estimate` the model stands in for processors where no counter of one could be read. Never throws for
// what the machine lacks; Error (kBadArgument) for a source that does not exist.
Survey survey(const Roots& roots, std::span<const std::string> sources, bool estimate);

// The comparison at the heart of a survey, on sources that are already open: watches them for about 0.1 s on a thread of its
// own and chooses for each channel name the best that is right. What it does not choose for a reason it adds to `refusals`.
std::vector<Choice> compare_sources(std::vector<std::unique_ptr<Source>> sources, std::span<const std::string> standing,
                                    std::vector<Refusal>& refusals);

// Opens what the survey chose for the channels named. Error (kBadArgument) for a name that the survey does not have, or what
// opening throws when the machine has changed since.
std::vector<std::unique_ptr<Source>> open_sources(const Survey& survey, std::span<const std::string> names);

}  // namespace powerprobe

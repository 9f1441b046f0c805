// SPDX-License-Identifier: MIT
// What a search for counters is given and what it brings back; shared by every source file.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "core/source.hpp"

namespace powerprobe {

// Where the machine is looked at. Tests pass their own folders; nothing else in the code names these paths.
struct Roots {
  std::filesystem::path sys = "/sys";
  std::filesystem::path dev = "/dev";
  std::filesystem::path proc = "/proc";
  std::string nvml = "libnvidia-ml.so.1";  // for dlopen(): a name that the loader looks for, or a path
};

// A way of reading that cannot be used here, with the reason and what would change that.
struct Refusal {
  std::string source;  // "rapl_perf"
  std::string path;    // the file or name that refused; may be empty
  std::string reason;  // one sentence, without the path, for people
  std::string remedy;  // a command or setting, least privilege first; empty when nothing helps
  int error = 0;       // errno, 0 when none
};

// Each find_*() opens what it can for every channel that `wanted` accepts and adds it here; what it cannot open it adds as a
// refusal. It does not throw for anything that the machine lacks.
struct Found {
  std::vector<std::unique_ptr<Source>> sources;
  std::vector<Refusal> refusals;
};

using Wanted = std::function<bool(const ChannelInfo&)>;

inline Refusal refusal_from(const std::string& source, const Error& error) {
  return {source, error.path(), error.what(), error.remedy(), error.error()};
}

}  // namespace powerprobe

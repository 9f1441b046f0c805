// SPDX-License-Identifier: MIT
// powerprobe.h for C++17: handles that close themselves, and exceptions in place of status codes. Header-only.
//
//     powerprobe::Probe probe;                       // the one that all of this process share
//     powerprobe::Region region(probe);
//     work();
//     double joules = region.end().energy().joules;  // lower and upper bound beside it
//
// Threads, units and what each call may do: as powerprobe.h says of the function of the same name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "powerprobe.h"

namespace powerprobe {

class Error : public std::runtime_error {
 public:
  explicit Error(const pp_error& error)
      : std::runtime_error(error.message), status_(error.status), path_(error.path), remedy_(error.remedy) {}

  [[nodiscard]] pp_status status() const noexcept { return status_; }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] const std::string& remedy() const noexcept { return remedy_; }

 private:
  pp_status status_;
  std::string path_;
  std::string remedy_;
};

inline void check(pp_status status) {
  if (status != PP_OK) throw Error(*pp_last_error());
}

// Joules, lower and upper bound of many intervals; columns of the same length.
struct Energies {
  std::vector<double> joules, lower, upper;
  std::vector<std::uint32_t> flags;
};

class Probe {
 public:
  Probe() : Probe(nullptr) {}
  explicit Probe(const pp_options& options) : Probe(&options) {}

  [[nodiscard]] pp_probe* get() const noexcept { return probe_.get(); }

  [[nodiscard]] std::uint32_t channel_count() const noexcept { return pp_channel_count(get()); }
  [[nodiscard]] pp_channel_info channel(std::uint32_t index) const {
    pp_channel_info info = PP_CHANNEL_INFO_INIT;
    check(pp_channel(get(), index, &info));
    return info;
  }
  [[nodiscard]] std::uint32_t channel(const std::string& name) const {
    std::uint32_t index = 0;
    check(pp_find_channel(get(), name.c_str(), &index));
    return index;
  }

  [[nodiscard]] std::int64_t mark() const noexcept { return pp_mark(get()); }

  [[nodiscard]] pp_joules energy(std::int64_t start_ns, std::int64_t end_ns, std::uint32_t channel = PP_TOTAL,
                                 std::int64_t settle_ns = PP_SETTLE) const {
    pp_joules energy = PP_JOULES_INIT;
    check(pp_energy(get(), channel, start_ns, end_ns, settle_ns, &energy));
    return energy;
  }

  [[nodiscard]] Energies energies(const std::vector<std::int64_t>& starts_ns, const std::vector<std::int64_t>& ends_ns,
                                  std::uint32_t channel = PP_TOTAL, std::int64_t settle_ns = PP_SETTLE) const {
    if (starts_ns.size() != ends_ns.size()) throw std::invalid_argument("starts_ns and ends_ns have different lengths");
    const std::size_t count = starts_ns.size();
    Energies out{std::vector<double>(count), std::vector<double>(count), std::vector<double>(count),
                 std::vector<std::uint32_t>(count)};
    check(pp_energies(get(), channel, count, starts_ns.data(), ends_ns.data(), settle_ns, out.joules.data(), out.lower.data(),
                      out.upper.data(), out.flags.data()));
    return out;
  }

 private:
  struct Close {
    void operator()(pp_probe* probe) const noexcept { pp_close(probe); }
  };

  explicit Probe(const pp_options* options) {
    pp_probe* probe = nullptr;
    check(pp_open(options, &probe));
    probe_.reset(probe);
  }

  std::unique_ptr<pp_probe, Close> probe_;
};

// Each step of the counters is waited for while it lives: for many short intervals. Must not outlive the probe.
class Ask {
 public:
  explicit Ask(const Probe& probe) : probe_(probe.get()) { check(pp_ask(probe_)); }
  ~Ask() { (void)pp_release(probe_); }
  Ask(const Ask&) = delete;
  Ask& operator=(const Ask&) = delete;

 private:
  pp_probe* probe_;
};

// One interval of any length, from here to end().
class Region {
 public:
  explicit Region(const Probe& probe) {
    pp_region* region = nullptr;
    check(pp_begin(probe.get(), &region));
    region_.reset(region);
  }

  Region& end() {
    check(pp_end(region_.get()));
    return *this;
  }

  [[nodiscard]] pp_joules energy(std::uint32_t channel = PP_TOTAL, std::int64_t settle_ns = PP_SETTLE) const {
    pp_joules energy = PP_JOULES_INIT;
    check(pp_region_energy(region_.get(), channel, settle_ns, &energy, nullptr, nullptr));
    return energy;
  }

 private:
  struct Free {
    void operator()(pp_region* region) const noexcept { pp_region_free(region); }
  };
  std::unique_ptr<pp_region, Free> region_;
};

}  // namespace powerprobe

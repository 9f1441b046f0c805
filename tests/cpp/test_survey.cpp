// SPDX-License-Identifier: MIT
#include "sources/survey.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <map>
#include <memory>
#include <thread>

#include "core/clock.hpp"
#include "core/error.hpp"
#include "sources/domains.hpp"

using namespace powerprobe;
namespace fs = std::filesystem;

namespace {

// Counters that gain `watts` in steps of a millisecond, from a source whose readings take `cost_us` longer than nothing.
class Steady : public Source {
 public:
  Steady(const std::string& name, int cost_us) : name_(name), cost_us_(cost_us) {}

  Steady& channel(const std::string& domain, int package, double watts, double quantum = 1e-6) {
    ChannelInfo info;
    info.domain = domain;
    info.package = package;
    info.name = channel_name(domain, package);
    info.source = name_;
    info.path = "test/" + info.name;
    info.joules_per_count = 1e-6;
    info.quantum_joules = quantum;
    info.max_watts = 10'000.0;
    info.stale_ns = 20'000'000;
    channels_.push_back(info);
    watts_.push_back(watts);
    return *this;
  }
  Steady& failing() {
    fails_ = true;
    return *this;
  }
  Steady& shared_thread() {
    thread_ = "together";
    return *this;
  }
  // Readings take so long, or until the flag is set.
  Steady& hanging(std::shared_ptr<std::atomic<bool>> until) {
    until_ = std::move(until);
    return *this;
  }
  Steady& counting(std::shared_ptr<std::atomic<int>> reads) {
    reads_ = std::move(reads);
    return *this;
  }
  Steady& stamped() {
    for (auto& info : channels_) {
      info.stamp_tick_ns = 10;
      info.stamp_modulus = 1ULL << 32;
    }
    return *this;
  }

  [[nodiscard]] const std::vector<ChannelInfo>& channels() const noexcept override { return channels_; }
  [[nodiscard]] std::string_view thread() const noexcept override { return thread_; }
  void read(std::span<Reading> out) noexcept override {
    if (reads_) reads_->fetch_add(1);  // partner: the test, when all reading is over
    while (until_ && !until_->load()) std::this_thread::sleep_for(std::chrono::milliseconds(1));  // partner: the test's store
    if (cost_us_ > 0) std::this_thread::sleep_for(std::chrono::microseconds(cost_us_));
    const double ms = static_cast<double>(now_ns() / 1'000'000);
    for (std::size_t i = 0; i < out.size(); ++i) {
      out[i].count = static_cast<std::uint64_t>(watts_[i] * ms * 1e3);
      if (fails_) out[i].status = ReadStatus::kRetry;
    }
  }

 private:
  std::string name_;
  int cost_us_;
  bool fails_ = false;
  std::string thread_;
  std::shared_ptr<std::atomic<bool>> until_;
  std::shared_ptr<std::atomic<int>> reads_;
  std::vector<ChannelInfo> channels_;
  std::vector<double> watts_;
};

struct Result {
  std::map<std::string, Choice> choices;
  std::vector<Refusal> refusals;
  [[nodiscard]] bool refuses(const std::string& source, const std::string& part) const {
    return std::any_of(refusals.begin(), refusals.end(), [&](const Refusal& r) {
      return r.source == source && r.reason.find(part) != std::string::npos;
    });
  }
};

Result compare(std::vector<Steady*> sources) {
  const std::vector<std::string> standing = {"first", "second", "third"};
  std::vector<std::unique_ptr<Source>> opened;
  for (Steady* source : sources) opened.emplace_back(source);
  Result result;
  for (Choice& choice : compare_sources(std::move(opened), standing, result.refusals)) {
    result.choices[choice.channel.name] = std::move(choice);
  }
  return result;
}

Steady* source(const std::string& name, int cost_us = 0) { return new Steady(name, cost_us); }

}  // namespace

TEST_CASE("the cheapest source of a domain is chosen, the others are named, and nothing is chosen twice") {
  const Result result = compare({&source("first", 200)->channel("package", 0, 50.0), &source("second")->channel("package", 0, 50.0),
                                 &source("third", 200)->channel("dram", 0, 5.0)});

  REQUIRE(result.choices.size() == 2);
  CHECK(result.choices.at("package-0").channel.source == "second");
  CHECK(result.choices.at("package-0").others == std::vector<std::string>{"first"});
  CHECK(result.choices.at("package-0").disagreement.empty());
  CHECK(result.choices.at("dram-0").channel.source == "third");
}

TEST_CASE("a counter that stamps its updates is worth a dearer reading") {
  const Result result = compare({&source("first")->channel("package", 0, 50.0),
                                 &source("second", 200)->channel("package", 0, 50.0).stamped()});
  CHECK(result.choices.at("package-0").channel.source == "second");
}

TEST_CASE("the update period is seen") {
  const Result result = compare({&source("first")->channel("package", 0, 50.0)});
  const auto period_ns = result.choices.at("package-0").seen_period_ns;
  // A busy machine may hide steps, it cannot add any.
  CHECK(period_ns >= 900'000);
}

TEST_CASE("two sources that count differently are shown with their figures") {
  const Result result = compare({&source("first")->channel("dram", 0, 20.0), &source("second", 200)->channel("dram", 0, 80.0)});
  const std::string text = result.choices.at("dram-0").disagreement;
  CHECK(text.find("second counted") != std::string::npos);
  CHECK(text.find("first counted") != std::string::npos);
}

TEST_CASE("a source whose counter stands still loses to one that sees it move") {
  const Result result = compare({&source("first")->channel("package", 0, 0.0), &source("second", 200)->channel("package", 0, 30.0)});
  CHECK(result.choices.at("package-0").channel.source == "second");
  CHECK(result.refuses("first", "does not move"));
}

TEST_CASE("a counter at rest is a counter where nobody sees it move") {
  const Result result = compare({&source("first")->channel("uncore", 0, 0.0)});
  CHECK(result.choices.contains("uncore-0"));
}

TEST_CASE("readings that fail are refused with their reason") {
  const Result result = compare({&source("first")->channel("package", 0, 30.0).failing()});
  CHECK(result.choices.empty());
  CHECK(result.refuses("first", "fail"));
}

TEST_CASE("a source that may hang is read once, and what it has is chosen without being watched") {
  const auto reads = std::make_shared<std::atomic<int>>(0);
  const Result result = compare({&source("first")->channel("gpu", 0, 300.0).shared_thread().counting(reads),
                                 &source("second")->channel("package", 0, 50.0)});
  CHECK(reads->load() == 1);
  CHECK(result.choices.at("gpu-0").read_ns > 0.0);
  CHECK(result.choices.at("gpu-0").seen_period_ns == 0);
  CHECK(result.choices.at("package-0").seen_period_ns > 0);
}

TEST_CASE("a source that hangs is refused and keeps nobody waiting for more than that") {
  const auto go_on = std::make_shared<std::atomic<bool>>(false);
  const Result result = compare({&source("first")->channel("gpu", 0, 300.0).shared_thread().hanging(go_on),
                                 &source("second")->channel("gpu", 1, 300.0).shared_thread()});
  CHECK_FALSE(result.choices.contains("gpu-0"));
  CHECK(result.choices.contains("gpu-1"));
  CHECK(result.refuses("first", "a reading of gpu-0 hangs"));
  go_on->store(true);
}

TEST_CASE("a source that may hang and fails is refused with its reason") {
  const Result result = compare({&source("first")->channel("gpu", 0, 300.0).shared_thread().failing()});
  CHECK(result.choices.empty());
  CHECK(result.refuses("first", "readings of gpu-0 fail"));
}

TEST_CASE("a platform counter that does not move, or counts less than it contains, must not spoil the totals") {
  const Result still = compare({&source("first")->channel("package", 0, 50.0).channel("psys", -1, 0.0)});
  CHECK_FALSE(still.choices.contains("psys"));
  CHECK(still.refuses("first", "does not move"));

  const Result small = compare({&source("first")->channel("package", 0, 50.0).channel("psys", -1, 20.0)});
  CHECK_FALSE(small.choices.contains("psys"));
  CHECK(small.refuses("first", "less than the packages"));

  const Result good = compare({&source("first")->channel("package", 0, 50.0).channel("psys", -1, 80.0)});
  CHECK(good.choices.contains("psys"));
}

namespace {

struct Machine {
  fs::path top = fs::temp_directory_path() / "powerprobe_survey_test";  // before roots, which are made from it
  Roots roots;
  Machine() : roots{top / "sys", top / "dev", top / "proc", {}} {
    fs::remove_all(top);
    for (const auto& folder : {roots.sys, roots.dev, roots.proc}) fs::create_directories(folder);
    roots.nvml = top / "libnvidia-ml.so.1";
  }
  ~Machine() { fs::remove_all(top); }
  static void write(const fs::path& file, const std::string& text) {
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text << '\n';
  }
};

}  // namespace

TEST_CASE("a machine without anything brings refusals and no exception") {
  const Machine machine;
  const Survey result = survey(machine.roots, {}, false);
  CHECK(result.choices.empty());
  for (const std::string& name : counter_sources()) {
    CAPTURE(name);
    CHECK(std::any_of(result.refusals.begin(), result.refusals.end(), [&](const Refusal& r) { return r.source == name; }));
  }
}

TEST_CASE("a source that does not exist is the caller's mistake, and the message names those that do") {
  const Machine machine;
  const std::vector<std::string> names = {"rapl_pref"};
  try {
    (void)survey(machine.roots, names, false);
    FAIL("should have thrown");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kBadArgument);
    CHECK(std::string(error.what()).find("rapl_perf") != std::string::npos);
  }
}

TEST_CASE("what was chosen can be opened by name, alone") {
  const Machine machine;
  const fs::path zones = machine.roots.sys / "class/powercap";
  for (const auto& [zone, name] : std::map<std::string, std::string>{
           {"intel-rapl:0", "package-0"}, {"intel-rapl:0:0", "dram"}, {"intel-rapl:1", "package-1"}}) {
    Machine::write(zones / zone / "name", name);
    Machine::write(zones / zone / "energy_uj", "1000");
    Machine::write(zones / zone / "max_energy_range_uj", "262143328850");
  }
  const Survey result = survey(machine.roots, {}, false);
  REQUIRE(result.choices.size() == 3);

  const std::vector<std::string> one = {"dram-0"};
  const auto sources = open_sources(result, one);
  REQUIRE(sources.size() == 1);
  REQUIRE(sources.front()->channels().size() == 1);
  CHECK(sources.front()->channels().front().name == "dram-0");

  const std::vector<std::string> wrong = {"dram-7"};
  CHECK_THROWS_AS((void)open_sources(result, wrong), Error);
  fs::remove_all(zones);
  CHECK_THROWS_AS((void)open_sources(result, one), Error);
}

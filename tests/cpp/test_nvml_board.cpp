// SPDX-License-Identifier: MIT
#include "sources/nvml_board.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "allocations.hpp"
#include "core/clock.hpp"
#include "fake_library.hpp"
#include "sources/nvml.hpp"

using namespace powerprobe;
using test::FakeLibrary;

namespace {

constexpr std::int64_t kMs = 1'000'000;

// The first board of a fake, opened as the probe would, by channel name.
class Opened {
 public:
  explicit Opened(const FakeLibrary& fake) {
    find_nvml(fake.roots(), [](const ChannelInfo&) { return true; }, found_);
    REQUIRE(found_.refusals.empty());
    REQUIRE(found_.sources.size() == 1);
    readings_.resize(source().channels().size());
  }
  [[nodiscard]] Source& source() { return *found_.sources.front(); }
  void read() { source().read(readings_); }
  [[nodiscard]] const Reading& operator[](const std::string& name) {
    const auto& channels = source().channels();
    for (std::size_t i = 0; i < channels.size(); ++i) {
      if (channels[i].name == name) return readings_[i];
    }
    FAIL("no channel " << name);
    throw 0;
  }

 private:
  Found found_;
  std::vector<Reading> readings_;
};

void wait_a_little() { std::this_thread::sleep_for(std::chrono::milliseconds(1)); }

std::int64_t soon() { return now_ns() + 30'000 * kMs; }

// What a library answers that is made of nothing but answers: value types and codes that the fake has no word for.
struct Answers {
  unsigned int type = nvml::kTypeUnsignedLongLong;
  NvmlReturn result = nvml::kSuccess;
  NvmlReturn call = nvml::kSuccess;
  NvmlValue value{};
  bool writes = true;
};
Answers answers;

NvmlReturn answer_fields(NvmlDevice, int count, NvmlFieldValue* values) {
  for (int i = 0; i < count && answers.writes; ++i) {
    values[i].value_type = answers.type;
    values[i].result = answers.result;
    values[i].value = answers.value;
  }
  return answers.call;
}

NvmlBoard answering_board() {
  auto api = std::make_shared<NvmlApi>();
  api->field_values = answer_fields;
  NvmlBoard::Part part;
  part.channel.name = "gpu-0";
  part.way = {NvmlWay::Call::kField, nvml::kFieldEnergy, nvml::kScopeGpu};
  std::vector<NvmlBoard::Part> parts;
  parts.push_back(std::move(part));
  return NvmlBoard(api, nullptr, std::move(parts));
}

Reading read_one(NvmlBoard& board) {
  std::vector<Reading> readings(1);
  board.read(readings);
  return readings.front();
}

}  // namespace

TEST_CASE("all that fields give costs one call, and nothing is allocated for it") {
  const FakeLibrary fake(
      FAKE_NVML, "start_ns 1\nboard\n wave 1 1000000:700000\n wave 2 1000000:50000\n fields 191@0 186@0 185@0 191@1 186@2\n");
  Opened board(fake);
  REQUIRE(board.source().channels().size() == 5);
  const auto fields = fake.calls("nvmlDeviceGetFieldValues", 0);
  const auto all = fake.calls(nullptr);
  const std::size_t before = allocations;
  board.read();
  CHECK(allocations == before);
  CHECK(fake.calls("nvmlDeviceGetFieldValues", 0) == fields + 1);
  CHECK(fake.calls(nullptr) == all + 1);
  CHECK(board["gpu-0"].status == ReadStatus::kOk);
  CHECK(board["module-0"].status == ReadStatus::kOk);
  CHECK(board["vram-0"].at_ns > 0);
}

TEST_CASE("what fields do not give costs one call each") {
  const FakeLibrary fake(FAKE_NVML, "board\n compute_capability 8 6\n fields 186@0\n");
  Opened board(fake);
  const auto all = fake.calls(nullptr);
  board.read();
  CHECK(fake.calls(nullptr) == all + 3);
  CHECK(board["gpu-0"].status == ReadStatus::kOk);
  CHECK(board["gpu-0-instant"].at_ns > 0);
  CHECK(board["gpu-0-average"].at_ns > 0);
}

TEST_CASE("counts are what the counter says, resets too") {
  const FakeLibrary fake(FAKE_NVML, R"(
frozen_ns 0
board
  wave 0 1000000:250000
  energy period_us=20000 first_mj=123456789
  reset_ms 10000
)");
  Opened board(fake);
  board.read();
  CHECK(board["gpu-0"].count == 123'456'789);
  fake.freeze(4'000 * kMs);
  board.read();
  CHECK(board["gpu-0"].count == 123'456'789 + 1'000'000);
  fake.freeze(12'000 * kMs);
  board.read();
  CHECK(board["gpu-0"].status == ReadStatus::kOk);
  CHECK(board["gpu-0"].count == 500'000);
}

TEST_CASE("every type of whole number is read, every other is not taken for one") {
  NvmlBoard board = answering_board();
  answers = {};
  answers.value.as_unsigned_long_long = 0x1234'5678'9abc'def0;
  CHECK(read_one(board).count == 0x1234'5678'9abc'def0);
  answers.type = nvml::kTypeUnsignedLong;
  CHECK(read_one(board).count == 0x1234'5678'9abc'def0);
  answers.type = nvml::kTypeUnsigned;
  CHECK(read_one(board).count == 0x9abc'def0);
  for (const unsigned int type : {0U, 4U, 5U, 6U, 77U}) {
    CAPTURE(type);
    answers.type = type;
    CHECK(read_one(board).status == ReadStatus::kRetry);
    CHECK(read_one(board).error == EIO);
  }
}

TEST_CASE("an entry that fails fails alone, a call that fails fails for all, and what was not answered is no answer") {
  NvmlBoard board = answering_board();
  answers = {};
  answers.value.as_unsigned_long_long = 7;
  REQUIRE(read_one(board).count == 7);
  answers.writes = false;
  CHECK(read_one(board).status == ReadStatus::kRetry);
  answers.writes = true;
  answers.call = nvml::kGpuIsLost;
  CHECK(read_one(board).status == ReadStatus::kGone);
  CHECK(read_one(board).error == ENODEV);
  answers.call = nvml::kSuccess;
  for (const auto& [code, status] : std::map<NvmlReturn, ReadStatus>{{15, ReadStatus::kGone},
                                                                      {16, ReadStatus::kGone},
                                                                      {1, ReadStatus::kGone},
                                                                      {28, ReadStatus::kGone},
                                                                      {3, ReadStatus::kFatal},
                                                                      {4, ReadStatus::kFatal},
                                                                      {10, ReadStatus::kRetry},
                                                                      {999, ReadStatus::kRetry}}) {
    CAPTURE(code);
    answers.result = code;
    CHECK(read_one(board).status == status);
  }
  answers.result = nvml::kSuccess;
  CHECK(read_one(board).status == ReadStatus::kOk);
}

TEST_CASE("a board that is lost while it is read is gone, with all its channels") {
  const FakeLibrary fake(FAKE_NVML, "frozen_ns 0\nboard\n fault from_ms=1000 code=15\n");
  Opened board(fake);
  board.read();
  CHECK(board["gpu-0"].status == ReadStatus::kOk);
  fake.freeze(1'000 * kMs);
  board.read();
  for (const char* name : {"gpu-0", "gpu-0-instant", "gpu-0-average"}) {
    CHECK(board[name].status == ReadStatus::kGone);
    CHECK(board[name].error == ENODEV);
  }
}

TEST_CASE("a failure in between is tried again, and the energy goes on") {
  const FakeLibrary fake(FAKE_NVML, "frozen_ns 0\nboard\n fault from_ms=1000 to_ms=2000 code=999\n");
  Opened board(fake);
  fake.freeze(1'500 * kMs);
  board.read();
  CHECK(board["gpu-0"].status == ReadStatus::kRetry);
  CHECK(board["gpu-0-instant"].status == ReadStatus::kRetry);
  fake.freeze(2'000 * kMs);
  board.read();
  CHECK(board["gpu-0"].status == ReadStatus::kOk);
  CHECK(board["gpu-0-instant"].status == ReadStatus::kOk);
}

TEST_CASE("stamps of updates are believed once they have proven themselves, and are then right") {
  const FakeLibrary fake(FAKE_NVML, "board\n stamps update\n latency_us 20\n energy period_us=20000 phase_us=3000\n");
  Opened board(fake);
  const std::int64_t start_ns = fake.start_ns();
  int placed = 0;
  std::int64_t last_at_ns = 0;
  for (const std::int64_t deadline = soon(); placed < 10 && now_ns() < deadline; wait_a_little()) {
    board.read();
    const Reading& gpu = board["gpu-0"];
    REQUIRE(gpu.status == ReadStatus::kOk);
    if (gpu.at_ns == 0) continue;
    ++placed;
    const std::int64_t k = (gpu.at_ns - start_ns - 3 * kMs) / (20 * kMs);
    const std::int64_t update_ns = start_ns + 3 * kMs + k * 20 * kMs;
    CHECK(update_ns <= gpu.at_ns);
    CHECK(gpu.at_ns - gpu.gap_ns < update_ns);
    CHECK(gpu.at_ns > last_at_ns);
    last_at_ns = gpu.at_ns;
  }
  CHECK(placed == 10);
}

TEST_CASE("stamps that say when a value was read, nothing, or something wrong are not believed") {
  for (const char* stamps : {"read", "zero", "wrong"}) {
    CAPTURE(stamps);
    const FakeLibrary fake(FAKE_NVML, std::string("board\n energy period_us=5000\n stamps ") + stamps + "\n");
    Opened board(fake);
    int changes = 0;
    std::uint64_t last = 0;
    for (const std::int64_t deadline = soon(); changes < 40 && now_ns() < deadline; wait_a_little()) {
      board.read();
      if (board["gpu-0"].count != last) ++changes;
      last = board["gpu-0"].count;
      REQUIRE(board["gpu-0"].at_ns == 0);
    }
    CHECK(changes == 40);
  }
}

TEST_CASE("power that is seen all the time is integrated to the true energy") {
  // A minute of this script is 30 x (200 W for 0.7 s and 600 W for 1.3 s).
  const FakeLibrary fake(FAKE_NVML, R"(
board
  compute_capability 8 6
  energy off
  wave 0 700000:200000 1300000:600000
  instant period_us=100000 window_us=100000
  fields 186@0
  power_usage off
)");
  const auto true_joules = [&](std::int64_t from_ns, std::int64_t to_ns) {
    const auto until = [&](std::int64_t t_ns) {
      const double seconds = static_cast<double>(t_ns - fake.start_ns()) * 1e-9 + 2000.0;  // the wave has no beginning
      const double rest = std::fmod(seconds, 2.0);
      return std::floor(seconds / 2.0) * (0.7 * 200.0 + 1.3 * 600.0) + std::min(rest, 0.7) * 200.0 +
             std::max(rest - 0.7, 0.0) * 600.0;
    };
    return until(to_ns) - until(from_ns);
  };
  Opened board(fake);
  std::int64_t first_at_ns = 0;
  std::int64_t longest_ns = 0;
  std::int64_t last_look_ns = 0;
  int news = 0;
  std::int64_t last_at_ns = 0;
  std::uint64_t last_count = 0;
  for (const std::int64_t deadline = soon(); news < 25 && now_ns() < deadline; wait_a_little()) {
    const std::int64_t now = now_ns();
    if (last_look_ns != 0) longest_ns = std::max(longest_ns, now - last_look_ns);
    last_look_ns = now;
    board.read();
    const Reading gpu = board["gpu-0"];
    if (gpu.status == ReadStatus::kNoNews) continue;
    REQUIRE(gpu.status == ReadStatus::kOk);
    ++news;
    CHECK(gpu.gap_ns == 0);
    CHECK(gpu.at_ns > last_at_ns);
    CHECK(gpu.at_ns <= now_ns());
    CHECK(gpu.count >= last_count);
    last_at_ns = gpu.at_ns;
    last_count = gpu.count;
    if (first_at_ns == 0) {
      first_at_ns = gpu.at_ns;
      continue;
    }
    // At the beginning and the end somewhere within a reading's window; in between each change as late as it was looked for.
    const double within = 2.0 * 400.0 * 0.1;
    const double changes = 1.0 + static_cast<double>(news) * 400.0 * 0.5 * static_cast<double>(longest_ns) * 1e-9;
    CHECK(std::abs(static_cast<double>(gpu.count) * 1e-6 - true_joules(first_at_ns, gpu.at_ns)) <= within + changes);
  }
  CHECK(news == 25);
}

TEST_CASE("the first reading of every channel is news") {
  const FakeLibrary fake(FAKE_NVML, "board\n");
  Opened board(fake);
  board.read();
  for (const char* name : {"gpu-0", "gpu-0-instant", "gpu-0-average"}) CHECK(board[name].status == ReadStatus::kOk);
}

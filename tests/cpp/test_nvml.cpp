// SPDX-License-Identifier: MIT
#include "sources/nvml.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "fake_library.hpp"
#include "sources/domains.hpp"
#include "sources/survey.hpp"

using namespace powerprobe;
using test::FakeLibrary;

namespace {

Found find(const FakeLibrary& fake, const Wanted& wanted = [](const ChannelInfo&) { return true; }) {
  Found found;
  find_nvml(fake.roots(), wanted, found);
  return found;
}

std::vector<std::string> names(const Found& found) {
  std::vector<std::string> result;
  for (const auto& source : found.sources) {
    for (const ChannelInfo& channel : source->channels()) result.push_back(channel.name);
  }
  return result;
}

const ChannelInfo& channel(const Found& found, const std::string& name) {
  for (const auto& source : found.sources) {
    for (const ChannelInfo& info : source->channels()) {
      if (info.name == name) return info;
    }
  }
  FAIL("no channel " << name);
  throw 0;
}

Wanted only(std::set<std::string> wanted) {
  return [wanted = std::move(wanted)](const ChannelInfo& info) { return wanted.contains(info.name); };
}

using Names = std::vector<std::string>;

bool says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

constexpr std::int64_t kMs = 1'000'000;

}  // namespace

TEST_CASE("an H100 has a counter, an instant reading and an averaged one; all of it is said") {
  const FakeLibrary fake(FAKE_NVML, R"(
driver 550.54.15
board
  name NVIDIA H100 80GB HBM3
  uuid GPU-aaaaaaaa-0000-0000-0000-000000000001
  pci 00000000:65:00.0
  compute_capability 9 0
  cores 16896
  clock_mhz 1200 1980
  limits_mw 200000 700000 700000 650000 650000
)");
  const Found found = find(fake);
  CHECK(found.refusals.empty());
  REQUIRE(found.sources.size() == 1);
  CHECK(found.sources.front()->thread() == "nvml");
  CHECK(names(found) == Names{"gpu-0-instant", "gpu-0-average", "gpu-0"});

  const ChannelInfo& gpu = channel(found, "gpu-0");
  CHECK(gpu.source == "nvml");
  CHECK(gpu.domain == "gpu");
  CHECK(gpu.gpu == 0);
  CHECK(gpu.package == -1);
  CHECK(gpu.reading.empty());
  CHECK(gpu.provenance == Provenance::kMeasured);
  CHECK(gpu.joules_per_count == 1e-3);
  CHECK(gpu.modulus == 0);
  CHECK(gpu.update_period_ns == 100 * kMs);
  CHECK(gpu.stale_ns == 300 * kMs);
  CHECK(gpu.least_pause_ns == kMs);
  CHECK(gpu.max_watts == 1400.0);
  CHECK(gpu.guide == -1);
  CHECK(gpu.spill_joules == 0.0);
  CHECK(gpu.blind_joules == doctest::Approx(0.75 * 0.1 * 700.0));
  CHECK(gpu.uuid == "GPU-aaaaaaaa-0000-0000-0000-000000000001");
  CHECK(gpu.pci == "00000000:65:00.0");
  CHECK(gpu.model == "NVIDIA H100 80GB HBM3");
  CHECK(gpu.speed == 16896.0 * 1980.0);
  CHECK(gpu.instances.empty());
  CHECK(gpu.path == "nvml field 191, 00000000:65:00.0");

  const ChannelInfo& instant = channel(found, "gpu-0-instant");
  CHECK(instant.provenance == Provenance::kIntegrated);
  CHECK(instant.domain == "gpu");
  CHECK(instant.reading == "instant");
  CHECK(instant.joules_per_count == 1e-6);
  CHECK(instant.window_ns == 25 * kMs);
  CHECK(instant.update_period_ns == 100 * kMs);
  CHECK(instant.spill_joules == doctest::Approx(1400.0 * 0.0625));
  CHECK(instant.blind_joules == doctest::Approx(52.5));
  CHECK(instant.guide == -1);
  CHECK(instant.uuid == gpu.uuid);
  CHECK(instant.path == "nvml field 186, 00000000:65:00.0");

  const ChannelInfo& average = channel(found, "gpu-0-average");
  CHECK(average.reading == "average");
  CHECK(average.window_ns == 1000 * kMs);
  CHECK(average.spill_joules == doctest::Approx(1400.0 * 0.55));
  CHECK(average.blind_joules == 0.0);
}

TEST_CASE("the readings of a board lie inside its counter, memory too, and all inside the module") {
  const FakeLibrary fake(FAKE_NVML, R"(
start_ns 1
board
  name NVIDIA GH200 480GB
  wave 0 1000000:300000
  wave 1 1000000:700000
  wave 2 1000000:50000
  fields 191@0 186@0 185@0 191@1 186@1 186@2
)");
  const Found found = find(fake);
  CHECK(names(found) == Names{"gpu-0-instant", "gpu-0-average", "gpu-0", "module-0", "vram-0"});
  CHECK(channel(found, "gpu-0-instant").window_ns == 20 * kMs);
  CHECK(channel(found, "module-0").provenance == Provenance::kMeasured);
  CHECK(channel(found, "module-0").domain == "module");
  CHECK(channel(found, "module-0").max_watts == 5000.0);
  CHECK(says(channel(found, "module-0").path, "nvml field 191 scope 1"));
  CHECK(channel(found, "vram-0").provenance == Provenance::kIntegrated);
  CHECK(channel(found, "vram-0").reading == "instant");
  CHECK(says(channel(found, "vram-0").path, "nvml field 186 scope 2"));

  std::vector<ChannelInfo> channels = found.sources.front()->channels();
  nest(channels);
  std::map<std::string, std::string> parent;
  for (const ChannelInfo& info : channels) parent[info.name] = info.parent;
  CHECK(parent.at("gpu-0-instant") == "gpu-0");
  CHECK(parent.at("gpu-0-average") == "gpu-0");
  CHECK(parent.at("vram-0") == "gpu-0");
  CHECK(parent.at("gpu-0") == "module-0");
  CHECK(parent.at("module-0").empty());
}

TEST_CASE("a module without a counter is integrated") {
  const FakeLibrary fake(FAKE_NVML, "start_ns 1\nboard\n wave 1 1000000:700000\n fields 191@0 186@0 186@1\n power_usage off\n");
  const Found found = find(fake);
  CHECK(names(found) == Names{"gpu-0-instant", "gpu-0", "module-0"});
  CHECK(channel(found, "module-0").provenance == Provenance::kIntegrated);
  CHECK(channel(found, "module-0").reading == "instant");
}

TEST_CASE("a driver that answers the same for every scope has neither module nor memory") {
  const FakeLibrary same(FAKE_NVML, R"(
frozen_ns 5000000000
board
  wave 0 1000000:300000
  wave 1 1000000:300000
  wave 2 1000000:300000
  fields 191@0 186@0 191@1 186@1 186@2
  power_usage off
)");
  CHECK(names(find(same)) == Names{"gpu-0-instant", "gpu-0"});
}

TEST_CASE("a module that says 0 is none") {
  const FakeLibrary fake(FAKE_NVML,
                         "start_ns 1\nboard\n wave 1 1000000:0\n wave 2 1000000:0\n fields 191@0 186@0 185@0 191@1 186@1 186@2\n");
  CHECK(names(find(fake)) == Names{"gpu-0-instant", "gpu-0-average", "gpu-0"});
}

TEST_CASE("older fields, no fields, and no function but the power reading") {
  const FakeLibrary field83(FAKE_NVML, "board\n fields 83@0\n power_usage off\n");
  Found found = find(field83);
  CHECK(names(found) == Names{"gpu-0"});
  CHECK(says(channel(found, "gpu-0").path, "nvml field 83, "));
  CHECK(channel(found, "gpu-0").guide == -1);

  // A driver that refuses the whole call for a field that it does not know.
  const FakeLibrary strict(FAKE_NVML, "board\n fields 83@0\n field_missing call 2\n power_usage off\n");
  CHECK(names(find(strict)) == Names{"gpu-0"});

  // Neither fields nor the function for energy: what GetPowerUsage means depends on the board.
  const FakeLibrary turing(FAKE_NVML_WITHOUT_FIELDS, "board\n compute_capability 7 5\n power_usage instant\n");
  found = find(turing);
  CHECK(names(found) == Names{"gpu-0"});
  CHECK(channel(found, "gpu-0").reading == "instant");
  CHECK(channel(found, "gpu-0").window_ns == 100 * kMs);

  // No such fields: the counter by its function.
  const FakeLibrary ampere(FAKE_NVML, "board\n compute_capability 8 6\n fields 1@0\n power_usage average\n");
  found = find(ampere);
  CHECK(names(found) == Names{"gpu-0-average", "gpu-0"});
  CHECK(channel(found, "gpu-0").guide == -1);
  CHECK(says(channel(found, "gpu-0").path, "nvmlDeviceGetTotalEnergyConsumption, "));
  CHECK(says(channel(found, "gpu-0-average").path, "nvmlDeviceGetPowerUsage, "));

  const FakeLibrary volta(FAKE_NVML, "board\n compute_capability 7 0\n fields 1@0\n power_usage instant\n");
  found = find(volta);
  CHECK(names(found) == Names{"gpu-0-instant", "gpu-0"});
  CHECK(channel(found, "gpu-0").update_period_ns == 20 * kMs);

  const FakeLibrary minimal(FAKE_NVML_MINIMAL, "board\n");
  found = find(minimal);
  CHECK(names(found) == Names{"gpu-0"});
  const ChannelInfo& gpu = channel(found, "gpu-0");
  CHECK(gpu.provenance == Provenance::kIntegrated);
  CHECK(gpu.reading == "average");
  CHECK(gpu.pci.empty());
  CHECK(gpu.max_watts == 5000.0);
  CHECK(says(gpu.path, "nvmlDeviceGetPowerUsage, GPU 0"));
}

TEST_CASE("a board without a counter is its instant reading, or the averaged one where that is all") {
  const FakeLibrary fake(FAKE_NVML,
                         "board\n energy off\n fields 185@0 186@0\nboard\n energy off\n fields 185@0\n power_usage off\n");
  const Found found = find(fake);
  CHECK(names(found) == Names{"gpu-0", "gpu-0-average", "gpu-1"});
  CHECK(channel(found, "gpu-0").reading == "instant");
  CHECK(channel(found, "gpu-0").provenance == Provenance::kIntegrated);
  CHECK(channel(found, "gpu-1").reading == "average");
  std::vector<ChannelInfo> channels = found.sources.front()->channels();
  nest(channels);
  CHECK(channels[1].parent == "gpu-0");
}

TEST_CASE("the instant reading guides the counter if it sees all of the power, or tells of it several times a step") {
  const auto guide = [](const char* board) {
    const FakeLibrary fake(FAKE_NVML, std::string("board\n") + board);
    const Found found = find(fake);
    const int index = channel(found, "gpu-0").guide;
    if (index >= 0) CHECK(found.sources.front()->channels()[static_cast<std::size_t>(index)].name == "gpu-0-instant");
    return index;
  };
  CHECK(guide(" compute_capability 8 9\n") == 0);                                                     // 100 of 100 ms
  CHECK(guide(" compute_capability 9 0\n") == -1);                                                    // 25 of 100 ms
  CHECK(guide(" compute_capability 7 0\n") == -1);                                                    // 10 of 20 ms, as the counter
  CHECK(guide(" compute_capability 9 0\n buffer period_us=20000 depth=120 stamps=update\n") == 0);     // five a step
  CHECK(guide(" compute_capability 9 0\n buffer period_us=60000 depth=120 stamps=update\n") == -1);
}

TEST_CASE("only what is wanted is opened, but the counter never without its instant reading, and other boards are not touched") {
  const FakeLibrary fake(FAKE_NVML, "board\nboard\nboard\n");
  const Found counter = find(fake, only({"gpu-1"}));
  CHECK(names(counter) == Names{"gpu-1-instant", "gpu-1"});
  CHECK(fake.calls(nullptr, 0) == 0);
  CHECK(fake.calls(nullptr, 1) > 0);
  CHECK(fake.calls(nullptr, 2) == 0);
  CHECK(names(find(fake, only({"gpu-0-average"}))) == Names{"gpu-0-average"});
  CHECK(names(find(fake, only({"gpu-0-instant", "gpu-2"}))) == Names{"gpu-0-instant", "gpu-2-instant", "gpu-2"});
  CHECK(find(fake, only({"package-0"})).sources.empty());
}

TEST_CASE("MIG instances are named, and the energy is said to be the whole board's") {
  const FakeLibrary fake(FAKE_NVML, "board\n pci 00000000:17:00.0\n mig MIG-1\n mig MIG-2\nboard\n");
  const Found found = find(fake);
  REQUIRE(found.sources.size() == 2);
  CHECK(channel(found, "gpu-0").instances == Names{"MIG-1", "MIG-2"});
  CHECK(channel(found, "gpu-0-average").instances == Names{"MIG-1", "MIG-2"});
  CHECK(channel(found, "gpu-0").path ==
        "nvml field 191, 00000000:17:00.0: the whole board, of which its 2 MIG instances are parts");
  CHECK(channel(found, "gpu-1").instances.empty());
}

TEST_CASE("a board that may not be used, is lost or needs a reset is refused alone") {
  struct Case {
    int code;
    const char* reason;
    const char* remedy;
    int error;
  };
  const Case cases[] = {{4, "may not use", "/dev/nvidia", EACCES},
                        {15, "fallen off the bus", "reboot", ENODEV},
                        {16, "needs a reset", "--gpu-reset -i 1", ENODEV},
                        {999, "NVML answers 999", "dmesg", EIO}};
  for (const Case& c : cases) {
    CAPTURE(c.code);
    const FakeLibrary fake(FAKE_NVML, "board\nboard\n fault code=" + std::to_string(c.code) + "\nboard\n");
    const Found found = find(fake, only({"gpu-0", "gpu-1", "gpu-2"}));
    CHECK(names(found) == Names{"gpu-0-instant", "gpu-0", "gpu-2-instant", "gpu-2"});
    REQUIRE(found.refusals.size() == 1);
    const Refusal& refusal = found.refusals.front();
    CHECK(refusal.source == "nvml");
    CHECK(refusal.path == "GPU 1");
    CHECK(says(refusal.reason, c.reason));
    CHECK(says(refusal.remedy, c.remedy));
    CHECK(refusal.error == c.error);
  }
}

TEST_CASE("a board without any reading is refused, with its name") {
  const FakeLibrary fake(FAKE_NVML,
                         "board\n name Quadro K600\n pci 00000000:03:00.0\n energy off\n fields 1@0\n power_usage off\n");
  const Found found = find(fake);
  CHECK(found.sources.empty());
  REQUIRE(found.refusals.size() == 1);
  CHECK(found.refusals.front().path == "00000000:03:00.0");
  CHECK(says(found.refusals.front().reason, "GPU 0 (Quadro K600) has neither an energy counter nor a power reading"));
}

TEST_CASE("no boards, no library and a driver that does not start are one refusal each") {
  const FakeLibrary none(FAKE_NVML, "driver 550.54.15\n");
  Found found = find(none);
  REQUIRE(found.refusals.size() == 1);
  CHECK(says(found.refusals.front().reason, "finds no GPU"));
  CHECK(found.refusals.front().error == ENODEV);

  const FakeLibrary broken(FAKE_NVML, "init_error 18\nboard\n");
  found = find(broken);
  REQUIRE(found.refusals.size() == 1);
  CHECK(says(found.refusals.front().reason, "different versions"));

  Roots roots = none.roots();
  roots.nvml = none.tree().root() / "missing.so";
  Found missing;
  find_nvml(roots, [](const ChannelInfo&) { return true; }, missing);
  REQUIRE(missing.refusals.size() == 1);
  CHECK(missing.refusals.front().reason == "no NVIDIA driver here");
}

TEST_CASE("a board that hangs keeps nobody from the others") {
  const FakeLibrary fake(FAKE_NVML, "board\nboard\n hang from_ms=0 to_ms=forever\nboard\n");
  const Found found = find(fake);
  CHECK(names(found) == Names{"gpu-0-instant", "gpu-0-average", "gpu-0", "gpu-2-instant", "gpu-2-average", "gpu-2"});
  REQUIRE(found.refusals.size() == 1);
  CHECK(found.refusals.front().path == "GPU 1");
  CHECK(says(found.refusals.front().reason, "did not answer within 2 s"));
  CHECK(found.refusals.front().error == ETIMEDOUT);
  fake.release();
}

TEST_CASE("a survey reads a board once, does not compare it, and lets the estimate stand in for the processor") {
  const FakeLibrary fake(FAKE_NVML, "board\n");
  fake.tree().write("proc/stat", "cpu  100 0 0 100 0 0 0 0 0 0\ncpu0 100 0 0 100 0 0 0 0 0 0");
  const Survey result = survey(fake.roots(), {}, true);
  std::map<std::string, Choice> choices;
  for (const Choice& choice : result.choices) choices[choice.channel.name] = choice;
  REQUIRE(choices.contains("gpu-0"));
  CHECK(choices.at("gpu-0").read_ns > 0.0);
  CHECK(choices.at("gpu-0").seen_period_ns == 0);
  CHECK(choices.at("gpu-0-instant").channel.parent == "gpu-0");
  CHECK(choices.contains("cpu"));
  const auto opened = fake.calls("nvmlDeviceGetFieldValues", 0);
  // Two at most while opening and one by the survey: never a hundred.
  CHECK(opened <= 3);

  const Survey strict = survey(fake.roots(), {}, false);
  for (const Choice& choice : strict.choices) CHECK(choice.channel.domain == "gpu");
  CHECK_FALSE(strict.choices.empty());

  const std::vector<std::string> wanted = {"gpu-0"};
  const auto sources = open_sources(result, wanted);
  REQUIRE(sources.size() == 1);
  CHECK(sources.front()->channels().back().name == "gpu-0");
}

TEST_CASE("a module stands for its processor: no estimate beside it") {
  const FakeLibrary fake(FAKE_NVML, "start_ns 1\nboard\n wave 1 1000000:700000\n fields 191@0 191@1\n");
  fake.tree().write("proc/stat", "cpu  100 0 0 100 0 0 0 0 0 0\ncpu0 100 0 0 100 0 0 0 0 0 0");
  const Survey result = survey(fake.roots(), {}, true);
  bool has_module = false;
  for (const Choice& choice : result.choices) {
    CHECK(choice.channel.domain != "cpu");
    has_module = has_module || choice.channel.name == "module-0";
  }
  CHECK(has_module);
}

// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>

#include "sources/rapl_models.hpp"

using namespace powerprobe;

namespace {

CpuIdentity intel(int model) { return {"GenuineIntel", 6, model, -1, false}; }

const RaplDomain* domain_of(const RaplGroup& group, const std::string& name) {
  const auto found =
      std::find_if(group.domains.begin(), group.domains.end(), [&](const RaplDomain& d) { return d.name == name; });
  return found == group.domains.end() ? nullptr : &*found;
}

double unit_of(int model, const std::string& domain, std::uint64_t unit_register) {
  const RaplGroup* group = find_rapl_group(intel(model));
  REQUIRE(group != nullptr);
  const RaplDomain* found = domain_of(*group, domain);
  REQUIRE(found != nullptr);
  return joules_per_count(*group, *found, unit_register).value();
}

constexpr std::uint64_t kEsu14 = 0xA0E03;
constexpr std::uint64_t kEsu16 = 0xA1003;

}  // namespace

TEST_CASE("every listed model is found, once, and no other") {
  std::set<int> listed;
  for (const RaplModel& model : rapl_models()) {
    CAPTURE(model.model);
    CHECK(listed.insert(model.model).second);
    CHECK(find_rapl_group(intel(model.model)) == model.group);
  }
  CHECK(listed.size() > 50);
  for (int model = 0; model < 0x200; ++model) {
    CAPTURE(model);
    CHECK((find_rapl_group(intel(model)) != nullptr) == (listed.count(model) == 1));
  }
}

TEST_CASE("every listed model has its package first, in the package's unit, and no domain or register twice") {
  for (const RaplModel& model : rapl_models()) {
    CAPTURE(model.model);
    const RaplGroup& group = *model.group;
    REQUIRE_FALSE(group.domains.empty());
    CHECK(std::string(group.domains.front().name) == "package");
    CHECK(group.domains.front().register_number == 0x611);
    CHECK(group.domains.front().joules_per_count == 0.0);
    CHECK(group.unit_register == 0x606);
    CHECK(group.update_period_ns >= 1'000'000);
    std::set<std::string> names;
    std::set<std::uint32_t> registers;
    for (const RaplDomain& domain : group.domains) {
      CHECK(names.insert(domain.name).second);
      CHECK(registers.insert(domain.register_number).second);
      CHECK(domain.stale_ns == (std::string(domain.name) == "psys" ? 100'000'000 : 20'000'000));
    }
  }
}

TEST_CASE("each domain has its own register") {
  const RaplGroup& skylake = *find_rapl_group(intel(0x5E));
  CHECK(domain_of(skylake, "core")->register_number == 0x639);
  CHECK(domain_of(skylake, "uncore")->register_number == 0x641);
  CHECK(domain_of(skylake, "dram")->register_number == 0x619);
  CHECK(domain_of(skylake, "psys")->register_number == 0x64D);
}

TEST_CASE("memory counts in 2^-16 J on these servers and as the unit register says everywhere else") {
  const std::set<int> fixed{0x3F, 0x4F, 0x56, 0x55, 0x6A, 0x6C, 0x57, 0x85};
  int seen = 0;
  for (const RaplModel& model : rapl_models()) {
    if (domain_of(*model.group, "dram") == nullptr) continue;
    CAPTURE(model.model);
    CHECK(unit_of(model.model, "dram", kEsu14) == std::ldexp(1.0, fixed.count(model.model) == 1 ? -16 : -14));
    ++seen;
  }
  CHECK(seen > 40);
  CHECK(unit_of(0x8F, "dram", kEsu14) == std::ldexp(1.0, -14));  // Sapphire Rapids: the trap of others
  CHECK(unit_of(0x56, "dram", kEsu14) == std::ldexp(1.0, -16));  // Broadwell-D: the trap of powercap
}

TEST_CASE("the platform counts whole joules on Sapphire and Emerald Rapids only") {
  for (const RaplModel& model : rapl_models()) {
    if (domain_of(*model.group, "psys") == nullptr) continue;
    CAPTURE(model.model);
    const bool whole = model.model == 0x8F || model.model == 0xCF;
    CHECK(unit_of(model.model, "psys", kEsu14) == (whole ? 1.0 : std::ldexp(1.0, -14)));
    CHECK(model.group->update_period_ns == (whole ? 1'500'000 : 1'000'000));
  }
}

TEST_CASE("Silvermont counts 2^ESU microjoules") {
  for (const int model : {0x37, 0x4A, 0x4C, 0x5A}) {
    CAPTURE(model);
    CHECK(unit_of(model, "package", 0x00505) == doctest::Approx(32e-6).epsilon(1e-12));
    CHECK(unit_of(model, "core", 0x00505) == doctest::Approx(32e-6).epsilon(1e-12));
  }
  CHECK(unit_of(0x5C, "package", kEsu14) == std::ldexp(1.0, -14));  // Goldmont does not
}

TEST_CASE("what is not known for certain is not known") {
  CHECK(find_rapl_group(intel(0x4D)) == nullptr);  // Avoton: nobody agrees about its unit
  CHECK(find_rapl_group(intel(0x17)) == nullptr);  // before RAPL
  CHECK(find_rapl_group({"GenuineIntel", 15, 0x55, -1, false}) == nullptr);
  CHECK(find_rapl_group({"GenuineIntel", 6, -1, -1, false}) == nullptr);
  CHECK(find_rapl_group({"CentaurHauls", 6, 0x55, -1, false}) == nullptr);
  CHECK(find_rapl_group({}) == nullptr);
}

TEST_CASE("servers whose memory register is doubtful count the package only, once per package") {
  for (const int model : {0xAD, 0xAE, 0xAF, 0xDD}) {
    CAPTURE(model);
    CHECK(find_rapl_group(intel(model))->domains.size() == 1);
    CHECK_FALSE(find_rapl_group(intel(model))->is_per_die);
  }
  CHECK(find_rapl_group(intel(0x55))->is_per_die);  // Cascade Lake-AP
}

TEST_CASE("AMD and Hygon have package and core since Zen") {
  for (const auto& [vendor, family] : {std::pair{"AuthenticAMD", 0x17},
                                       {"AuthenticAMD", 0x19},
                                       {"AuthenticAMD", 0x1A},
                                       {"HygonGenuine", 0x18},
                                       {"AuthenticAMD", 0x1B}}) {
    const RaplGroup* group = find_rapl_group({vendor, family, 1, -1, false});
    REQUIRE(group != nullptr);
    CHECK(group->unit_register == 0xC0010299);
    CHECK(group->core_register == 0xC001029A);
    REQUIRE(group->domains.size() == 1);
    CHECK(group->domains.front().register_number == 0xC001029B);
    CHECK_FALSE(group->is_per_die);
    CHECK(joules_per_count(*group, group->domains.front(), kEsu16) == std::ldexp(1.0, -16));
  }
  CHECK(find_rapl_group({"AuthenticAMD", 0x15, 1, -1, false}) == nullptr);
}

TEST_CASE("a unit register without an energy unit gives none, not even for fixed units") {
  for (const RaplModel& model : rapl_models()) {
    for (const RaplDomain& domain : model.group->domains) {
      CHECK_FALSE(joules_per_count(*model.group, domain, 0).has_value());
      CHECK_FALSE(joules_per_count(*model.group, domain, 0xA0003).has_value());
      CHECK(joules_per_count(*model.group, domain, kEsu14).has_value());
    }
  }
}

TEST_CASE("the most watts are generous, and never nonsense") {
  const std::uint64_t tdp165_max330 = 165 * 8 | std::uint64_t{330 * 8} << 32;
  CHECK(max_package_watts(kEsu14, tdp165_max330) == doctest::Approx(1320.0));
  CHECK(max_package_watts(kEsu14, 500 * 8) == doctest::Approx(2000.0));     // no maximum given
  CHECK(max_package_watts(kEsu14, 15 * 8) == doctest::Approx(1000.0));      // a laptop
  CHECK(max_package_watts(kEsu14, 0) == kMaxPackageWatts);                  // not given
  CHECK(max_package_watts(kEsu14, ~std::uint64_t{0}) == kMaxPackageWatts);  // garbage
  CHECK(max_package_watts(0xA0E00, 300) == doctest::Approx(1200.0));        // in watts instead of eighths
  for (std::uint64_t bit = 0; bit < 64; ++bit) {
    CHECK(max_package_watts(kEsu14, std::uint64_t{1} << bit) >= 1000.0);
    CHECK(max_package_watts(kEsu14, std::uint64_t{1} << bit) <= kMaxPackageWatts);
  }
}

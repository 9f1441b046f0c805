// SPDX-License-Identifier: MIT
#include "sources/sysfs.hpp"

#include <doctest/doctest.h>

#include <cerrno>
#include <fstream>

#include "core/error.hpp"

using namespace powerprobe;

TEST_CASE("parse_u64 takes a whole number or nothing") {
  CHECK(parse_u64("0") == 0u);
  CHECK(parse_u64("18446744073709551615") == UINT64_MAX);
  CHECK(parse_u64("0x1f", 16) == 31u);
  CHECK(parse_u64("1f", 16) == 31u);
  for (const char* bad : {"", "-1", "+1", " 1", "1 ", "1x", "18446744073709551616", "0x", "nan"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_u64(bad).has_value());
  }
}

TEST_CASE("parse_double takes the kernel's scale and refuses garbage") {
  CHECK(*parse_double("2.3283064365386962890625e-10") == 1.0 / 4294967296.0);
  for (const char* bad : {"", "x", "1.0 J", "inf", "nan"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_double(bad).has_value());
  }
}

TEST_CASE("parse_cpu_list reads ranges and refuses garbage") {
  CHECK(*parse_cpu_list("0-2,8,10-11") == std::vector<int>{0, 1, 2, 8, 10, 11});
  CHECK(parse_cpu_list("")->empty());
  for (const char* bad : {",", "1,", "3-1", "a", "0-", "-1", "0-99999999999"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_cpu_list(bad).has_value());
  }
}

TEST_CASE("read_text trims, and says which file failed and why") {
  const auto file = std::filesystem::temp_directory_path() / "powerprobe_sysfs_test";
  std::ofstream(file) << "  12 \n";
  CHECK(read_text(file) == "12");
  std::filesystem::remove(file);
  CHECK_FALSE(try_read_text(file).has_value());
  try {
    read_text(file);
    FAIL("should have thrown");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kUnavailable);
    CHECK(error.error() == ENOENT);
    CHECK(error.path() == file.string());
  }
}

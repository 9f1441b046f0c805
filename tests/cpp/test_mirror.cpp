// SPDX-License-Identifier: MIT
#include "core/mirror.hpp"

#include <doctest/doctest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <iterator>

#include "core/error.hpp"

using namespace powerprobe;

namespace {

std::size_t page() { return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)); }

std::ptrdiff_t open_files() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
}

// mincore() fails with ENOMEM for pages that are not mapped.
bool is_mapped(void* address) {
  unsigned char resident = 0;
  return ::mincore(address, page(), &resident) == 0;
}

}  // namespace

TEST_CASE("both halves are the same memory, over several pages") {
  const Mirror mirror(3 * page());
  auto* const bytes = static_cast<std::uint8_t*>(mirror.data());
  REQUIRE(mirror.size() == 3 * page());
  for (std::size_t i = 0; i < mirror.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i * 31 >> 3);
  CHECK(std::memcmp(bytes, bytes + mirror.size(), mirror.size()) == 0);
  bytes[2 * mirror.size() - 1] ^= 0xff;
  CHECK(bytes[mirror.size() - 1] == bytes[2 * mirror.size() - 1]);
}

TEST_CASE("a window across the end is one piece") {
  const Mirror mirror(page());
  auto* const words = static_cast<std::uint64_t*>(mirror.data());
  const std::size_t count = mirror.size() / sizeof(std::uint64_t);
  for (std::size_t i = 0; i < count; ++i) words[i] = i;
  for (std::size_t i = 0; i < count; ++i) CHECK(words[count - 5 + i] == (count - 5 + i) % count);
}

TEST_CASE("memory and file go back") {
  const auto files = open_files();
  void* address = nullptr;
  {
    const Mirror mirror(page());
    address = mirror.data();
    CHECK(open_files() == files + 1);
    CHECK(is_mapped(address));
  }
  CHECK(open_files() == files);
  CHECK_FALSE(is_mapped(address));
  CHECK_FALSE(is_mapped(static_cast<std::uint8_t*>(address) + page()));
}

TEST_CASE("memory that cannot be had is an error with its reason and remedy, and leaves nothing open") {
  const auto files = open_files();
  // The first is more than a file can be, the second more than an address space.
  for (const std::size_t bytes : {std::size_t{1} << 63, std::size_t{1} << 60}) {
    CAPTURE(bytes);
    try {
      const Mirror mirror(bytes);
      FAIL("should have thrown");
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::kUnavailable);
      CHECK(error.error() != 0);
      CHECK(std::strstr(error.what(), std::to_string(bytes).c_str()) != nullptr);
      CHECK_FALSE(error.remedy().empty());
    }
    CHECK(open_files() == files);
  }
}

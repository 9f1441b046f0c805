// SPDX-License-Identifier: MIT
#include "core/mirror.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <system_error>

#include "core/error.hpp"

using namespace powerprobe;

namespace {

std::size_t page() { return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)); }

std::ptrdiff_t open_files() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
}

// Of rings, in this process.
int mappings() {
  std::ifstream maps("/proc/self/maps");
  int count = 0;
  for (std::string line; std::getline(maps, line);) count += line.find("powerprobe-ring") != std::string::npos ? 1 : 0;
  return count;
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

TEST_CASE("mirrors lie apart from each other") {
  // A range that was reserved too short would be continued into its neighbour.
  std::array<std::optional<Mirror>, 8> mirrors;
  for (std::size_t i = 0; i < mirrors.size(); ++i) {
    mirrors[i].emplace(page());
    std::memset(mirrors[i]->data(), static_cast<int>(i + 1), page());
  }
  for (std::size_t i = 0; i < mirrors.size(); ++i) {
    const auto* const bytes = static_cast<const std::uint8_t*>(mirrors[i]->data());
    CHECK(std::count(bytes, bytes + 2 * page(), static_cast<std::uint8_t>(i + 1)) == static_cast<std::ptrdiff_t>(2 * page()));
  }
}

TEST_CASE("the file of a mirror is not handed to the programs that are started") {
  const Mirror mirror(page());
  int found = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;  // the directory's own
    if (std::filesystem::read_symlink(entry, gone).string().find("powerprobe-ring") == std::string::npos) continue;
    ++found;
    CHECK((::fcntl(std::stoi(entry.path().filename().string()), F_GETFD) & FD_CLOEXEC) != 0);
  }
  CHECK(found == 1);
}

TEST_CASE("memory that cannot be had is an error with its reason and remedy, and leaves nothing behind") {
  struct Row {
    const char* why;
    std::size_t bytes;
    int error;
    const char* call;
  };
  const std::array rows{
      Row{"more than a file can be", std::size_t{1} << 63, EINVAL, "ftruncate of "},
      Row{"more than an address space", std::size_t{1} << 60, ENOMEM, "mmap of "},
      Row{"not whole pages, so that the second half cannot follow the first", page() / 2, EINVAL, "mmap of "},
  };
  for (const Row& row : rows) {
    CAPTURE(row.why);
    const auto files = open_files();
    const auto maps = mappings();
    try {
      const Mirror mirror(row.bytes);
      FAIL("should have thrown");
    } catch (const Error& error) {
      CHECK(error.kind() == ErrorKind::kUnavailable);
      CHECK(error.error() == row.error);
      CHECK(std::strstr(error.what(), row.call) != nullptr);
      CHECK(std::strstr(error.what(), std::to_string(row.bytes).c_str()) != nullptr);
      CHECK_FALSE(error.remedy().empty());
    }
    CHECK(open_files() == files);
    CHECK(mappings() == maps);
  }
}

TEST_CASE("a process that may open no more files is told so") {
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const rlimit none{0, before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  int error = 0;
  try {
    const Mirror mirror(page());
  } catch (const Error& refused) {
    error = refused.error();
  }
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK(error == EMFILE);
}

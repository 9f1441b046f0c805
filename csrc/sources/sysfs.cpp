// SPDX-License-Identifier: MIT
#include "sources/sysfs.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <system_error>

#include "core/error.hpp"

namespace powerprobe {
namespace {

// A cpu list longer than this is garbage, not a machine.
constexpr int kMaxCpu = 1 << 16;

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank(" \t\r\n\0", 5);
  const auto first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

// errno, or 0 with the text in `out`.
int read_into(const std::filesystem::path& file, std::string& out) {
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  std::array<char, 4096> buffer;  // sysfs never shows more than a page
  ssize_t size = 0;
  do {
    size = ::read(fd, buffer.data(), buffer.size());
  } while (size < 0 && errno == EINTR);
  const int error = size < 0 ? errno : 0;
  ::close(fd);
  if (error == 0) out = trimmed({buffer.data(), static_cast<std::size_t>(size)});
  return error;
}

}  // namespace

std::string read_text(const std::filesystem::path& file) {
  std::string text;
  if (const int error = read_into(file, text)) {
    const bool denied = error == EACCES || error == EPERM;
    throw Error(denied ? ErrorKind::kPermission : ErrorKind::kUnavailable,
                "cannot read " + file.string() + ": " + std::generic_category().message(error), file.string(), error);
  }
  return text;
}

std::optional<std::string> try_read_text(const std::filesystem::path& file) {
  std::string text;
  if (read_into(file, text) != 0) return std::nullopt;
  return text;
}

std::optional<std::uint64_t> parse_u64(std::string_view text, int base) {
  if (base == 16 && (text.starts_with("0x") || text.starts_with("0X"))) text.remove_prefix(2);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

std::optional<double> parse_double(std::string_view text) {
  double value = 0.0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

std::optional<std::vector<int>> parse_cpu_list(std::string_view text) {
  std::vector<int> cpus;
  if (text.empty()) return cpus;
  while (true) {
    const auto comma = text.find(',');
    const std::string_view part = text.substr(0, comma);
    const auto dash = part.find('-');
    const auto first = parse_u64(part.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : parse_u64(part.substr(dash + 1));
    if (!first || !last || *last < *first || *last >= kMaxCpu) return std::nullopt;
    for (std::uint64_t cpu = *first; cpu <= *last; ++cpu) cpus.push_back(static_cast<int>(cpu));
    if (comma == std::string_view::npos) return cpus;
    text.remove_prefix(comma + 1);
  }
}

}  // namespace powerprobe

// SPDX-License-Identifier: MIT
// Reading a ring without a pin: what comes out is whole and in order, and what the writer was quicker with is counted.
#include "core/ring_reader.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>

#include "numbered_edge.hpp"

using namespace powerprobe;

namespace {

void publish(Ring& ring, std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) REQUIRE(ring.publish(numbered_edge(ring.head(), ring.head())));
}

// Follows a ring until it has seen the edge at `last`. Says whether all was as it has to be.
struct Follower {
  std::uint64_t seen = 0;
  bool is_right = true;
  RingReader reader;

  explicit Follower(const std::shared_ptr<Ring>& ring) : reader(ring) {}

  void turn() {
    std::array<Edge, 100> edges;
    const std::size_t count = reader.read(edges);
    for (std::size_t i = 0; i < count; ++i) is_right &= is_numbered(edges[i], seen + reader.lost() + i);
    seen += count;
  }
  void until(std::uint64_t last) {
    while (is_right && seen + reader.lost() <= last) turn();
  }
};

}  // namespace

TEST_CASE("edges come in order, each once, the oldest that is there first") {
  const auto ring = Ring::create(1);
  publish(*ring, ring->capacity() + 10);
  RingReader reader(ring);
  std::array<Edge, 3> edges;
  CHECK(reader.read(edges) == 3);
  for (std::size_t i = 0; i < edges.size(); ++i) CHECK(is_numbered(edges[i], 10 + i));
  CHECK(reader.read(edges) == 3);
  CHECK(is_numbered(edges[0], 13));
  CHECK(reader.lost() == 0);
}

TEST_CASE("nothing new is nothing read") {
  const auto ring = Ring::create(1);
  RingReader reader(ring);
  std::array<Edge, 3> edges;
  CHECK(reader.read(edges) == 0);
  publish(*ring, 2);
  CHECK(reader.read(edges) == 2);
  CHECK(reader.read(edges) == 0);
  CHECK(reader.lost() == 0);
}

TEST_CASE("what was overwritten is counted, and reading goes on with the oldest that is left") {
  const auto ring = Ring::create(1);
  RingReader reader(ring);
  publish(*ring, ring->capacity() + 7);
  std::array<Edge, 2> edges;
  CHECK(reader.read(edges) == 2);
  CHECK(reader.lost() == 7);
  CHECK(is_numbered(edges[0], 7));
  CHECK(is_numbered(edges[1], 8));
  publish(*ring, 3 * ring->capacity());
  CHECK(reader.read(edges) == 2);
  CHECK(is_numbered(edges[0], reader.lost() + 2));
}

TEST_CASE("an edge that is being overwritten is not given out") {
  const auto ring = Ring::create(1);
  publish(*ring, ring->capacity());
  RingReader reader(ring);
  ring->header().claim.store(ring->capacity() + 1, std::memory_order_relaxed);  // a writer that stands still on its way into slot 0
  std::array<Edge, 2> edges;
  CHECK(reader.read(edges) == 2);
  CHECK(is_numbered(edges[0], 1));
  CHECK(reader.lost() == 1);
}

TEST_CASE("with a writer at full speed nothing torn comes out, and the ledger is even") {
  constexpr std::uint64_t kEdges = 2'000'000;
  const auto ring = Ring::create(1);
  Follower follower(ring);
  std::thread reader([&] { follower.until(kEdges - 1); });
  for (std::uint64_t i = 0; i < kEdges; ++i) {
    (void)ring->publish(numbered_edge(i, i));
    if (i % 256 == 0) std::this_thread::yield();
  }
  reader.join();
  CHECK(follower.is_right);
  CHECK(follower.seen + follower.reader.lost() == kEdges);
  CHECK(follower.seen > ring->capacity());
}

TEST_CASE("the child of a fork reads what its parent goes on writing") {
  constexpr std::uint64_t kEdges = 200'000;
  const auto ring = Ring::create(1);
  publish(*ring, 5);
  Follower follower(ring);
  const int child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    follower.until(kEdges - 1);
    ::_exit(follower.is_right && follower.seen > 5 ? 0 : 1);
  }
  while (ring->head() < kEdges) {
    (void)ring->publish(numbered_edge(ring->head(), ring->head()));
    if (ring->head() % 64 == 0) std::this_thread::yield();
  }
  int status = -1;
  CHECK(::waitpid(child, &status, 0) == child);
  CHECK(status == 0);
}

// SPDX-License-Identifier: MIT
#include "core/ring.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>

#include "numbered_edge.hpp"

using namespace powerprobe;

namespace {

Edge edge_at(std::uint64_t index) { return numbered_edge(index, index); }

bool is_edge_at(const Edge& edge, std::uint64_t index) { return attempt_of(edge) == index && is_numbered(edge, index); }

bool is_intact(const Lease& lease) {
  std::uint64_t index = lease.first_index();
  return std::all_of(lease.edges().begin(), lease.edges().end(),
                     [&](const Edge& edge) { return is_edge_at(edge, index++); });
}

bool publish_next(Ring& ring) { return ring.publish(edge_at(ring.head())); }

void publish(Ring& ring, std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) REQUIRE(publish_next(ring));
}

std::size_t smallest() { return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)) / sizeof(Edge); }

}  // namespace

TEST_CASE("capacity is rounded up to whole pages and a power of two") {
  CHECK(Ring::create(0)->capacity() == smallest());
  CHECK(Ring::create(1)->capacity() == smallest());
  CHECK(Ring::create(smallest())->capacity() == smallest());
  CHECK(Ring::create(smallest() + 1)->capacity() == 2 * smallest());
  CHECK(Ring::create(5 * smallest())->capacity() == 8 * smallest());
}

TEST_CASE("an empty ring gives empty leases that pin nothing") {
  const auto ring = Ring::create(1);
  const Lease all = ring->lease();
  const Lease newest = ring->lease_newest(7);
  CHECK(all.edges().empty());
  CHECK(newest.edges().empty());
  publish(*ring, 3 * ring->capacity());
  CHECK(ring->dropped() == 0);
}

TEST_CASE("overwrites the oldest") {
  const auto ring = Ring::create(1);
  const std::uint64_t capacity = ring->capacity();
  publish(*ring, 5 * capacity + 10);
  const Lease lease = ring->lease();
  CHECK(ring->head() == 5 * capacity + 10);
  CHECK(lease.first_index() == 4 * capacity + 10);
  CHECK(lease.edges().size() == capacity);
  CHECK(is_intact(lease));
  CHECK(ring->dropped() == 0);
}

TEST_CASE("a lease starts where it was asked to, or at the oldest edge that is left") {
  const auto ring = Ring::create(1);
  const std::uint64_t capacity = ring->capacity();
  publish(*ring, 2 * capacity);
  CHECK(ring->lease(capacity + 3).first_index() == capacity + 3);
  CHECK(ring->lease(3).first_index() == capacity);
  CHECK(ring->lease(2 * capacity).edges().empty());
  CHECK(ring->lease(5 * capacity).edges().empty());
}

TEST_CASE("the newest edges are the last ones, and never more than there are") {
  const auto ring = Ring::create(1);
  publish(*ring, 5);
  CHECK(ring->lease_newest(3).first_index() == 2);
  CHECK(ring->lease_newest(3).edges().size() == 3);
  CHECK(ring->lease_newest(0).edges().empty());
  CHECK(ring->lease_newest(UINT64_MAX).edges().size() == 5);
  publish(*ring, 2 * ring->capacity());
  CHECK(ring->lease_newest(UINT64_MAX).edges().size() == ring->capacity());
}

TEST_CASE("a leased edge is never overwritten: the new one is dropped and counted, and later ones carry on") {
  const auto ring = Ring::create(1);
  const std::uint64_t capacity = ring->capacity();
  publish(*ring, capacity);
  {
    const Lease lease = ring->lease();
    for (int i = 0; i < 3; ++i) CHECK_FALSE(publish_next(*ring));
    CHECK(ring->dropped() == 3);
    CHECK(ring->head() == capacity);
    CHECK(lease.edges().size() == capacity);
    CHECK(is_intact(lease));
  }
  publish(*ring, capacity / 2);
  CHECK(ring->dropped() == 3);
  CHECK(is_intact(ring->lease()));
}

TEST_CASE("a lease of the newest leaves the writer all other slots") {
  const auto ring = Ring::create(1);
  const std::uint64_t capacity = ring->capacity();
  publish(*ring, capacity);
  const Lease lease = ring->lease_newest(10);
  publish(*ring, capacity - 10);
  CHECK_FALSE(publish_next(*ring));
  CHECK(is_intact(lease));
}

TEST_CASE("a lease taken after a drop loses nothing that the ring still holds") {
  const auto ring = Ring::create(1);
  publish(*ring, ring->capacity());
  const Lease first = ring->lease();
  CHECK_FALSE(publish_next(*ring));
  const Lease second = ring->lease();
  CHECK(second.edges().size() == ring->capacity());
  CHECK(is_intact(second));
}

TEST_CASE("a window across the seam is contiguous") {
  const auto ring = Ring::create(1);
  const std::uint64_t capacity = ring->capacity();
  for (std::uint64_t round = 0; round < capacity; ++round) {
    publish(*ring, 1);
    const Lease lease = ring->lease();
    CHECK(is_intact(lease));
  }
  publish(*ring, capacity / 2);  // the oldest edge now lies in the middle of the memory
  const Lease lease = ring->lease();
  REQUIRE(lease.edges().size() == capacity);
  CHECK(is_intact(lease));
}

TEST_CASE("the writer's tail is the newest edges, also across the seam") {
  const auto ring = Ring::create(1);
  const std::uint64_t capacity = ring->capacity();
  CHECK(ring->tail(5).empty());
  publish(*ring, 3);
  CHECK(ring->tail(5).size() == 3);
  publish(*ring, 2 * capacity);
  const auto tail = ring->tail(10);
  REQUIRE(tail.size() == 10);
  for (std::size_t i = 0; i < tail.size(); ++i) CHECK(is_edge_at(tail[i], 2 * capacity + 3 - 10 + i));
  CHECK(ring->tail(SIZE_MAX).size() == capacity);
}

TEST_CASE("leases may be given back in any order, and the oldest that is left holds") {
  std::array<int, 3> order{0, 1, 2};
  do {
    CAPTURE(order[0]);
    CAPTURE(order[1]);
    const auto ring = Ring::create(1);
    const std::uint64_t capacity = ring->capacity();
    publish(*ring, capacity);
    std::array<std::optional<Lease>, 3> leases;
    for (std::size_t i = 0; i < 3; ++i) leases[i].emplace(ring->lease(i * 10));
    for (const int back : order) {
      const auto oldest = std::find_if(leases.begin(), leases.end(), [](const auto& lease) { return lease.has_value(); });
      while (publish_next(*ring)) {
      }
      CHECK(ring->head() == capacity + (*oldest)->first_index());
      for (const auto& lease : leases) CHECK((!lease || is_intact(*lease)));
      leases[static_cast<std::size_t>(back)].reset();
    }
    publish(*ring, 2 * capacity);
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE("two leases of the same edges each pin them") {
  const auto ring = Ring::create(1);
  publish(*ring, ring->capacity());
  std::optional<Lease> first(ring->lease());
  const Lease second = ring->lease();
  first.reset();
  CHECK_FALSE(publish_next(*ring));
  CHECK(is_intact(second));
}

TEST_CASE("live counts follow rings and leases, and a lease keeps its ring") {
  const auto rings = Ring::live_rings();
  const auto leases = Ring::live_leases();
  {
    auto ring = Ring::create(1);
    publish(*ring, 4);
    std::optional<Lease> lease(ring->lease());
    CHECK(Ring::live_rings() == rings + 1);
    CHECK(Ring::live_leases() == leases + 1);
    const Lease moved(std::move(*lease));
    lease.reset();
    CHECK(Ring::live_leases() == leases + 1);
    ring.reset();
    CHECK(Ring::live_rings() == rings + 1);
    CHECK(is_intact(moved));
  }
  CHECK(Ring::live_rings() == rings);
  CHECK(Ring::live_leases() == leases);
}

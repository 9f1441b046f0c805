// SPDX-License-Identifier: MIT
// One writer at full speed against readers with random leases, and at the end the whole ledger. How the threads interleave is
// the machine's affair and never the same; what has to come out is. POWERPROBE_STRESS=N makes it N times as long.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "core/ring.hpp"
#include "numbered_edge.hpp"

using namespace powerprobe;

namespace {

constexpr std::uint64_t kEnough = 1'000'000;  // edges published while readers had leases
constexpr std::uint64_t kTurnsEach = 2'000;
constexpr std::uint64_t kMostAttempts = 500'000'000;  // the run is bounded even when the readers hardly get to run

std::uint32_t rounds() {
  const char* const times = std::getenv("POWERPROBE_STRESS");
  return times == nullptr ? 1 : static_cast<std::uint32_t>(std::max(1, std::atoi(times)));
}

// Edges in their places, each from a later attempt than the one before.
bool is_intact(const Lease& lease) {
  std::uint64_t index = lease.first_index();
  std::uint64_t least_attempt = index;
  for (const Edge& edge : lease.edges()) {
    if (!is_numbered(edge, index) || attempt_of(edge) < least_attempt) return false;
    ++index;
    least_attempt = attempt_of(edge) + 1;
  }
  return true;
}

struct Tally {
  std::uint64_t leases = 0;
  std::uint64_t empty = 0;
  std::uint64_t wrong = 0;  // not what was asked for
  std::uint64_t broken = 0;
};

// Overlapping leases of random runs of edges, held for random times, moved, and given back in any order.
class Browser {
 public:
  Browser(Ring& ring, std::uint32_t seed) : ring_(ring), random_(seed) {}

  void turn() {
    auto& lease = held_[random_() % held_.size()];
    lease.reset();
    take(lease);
    for (int look = 0; look < 2; ++look) {
      for (const auto& other : held_) tally_.broken += !other || is_intact(*other) ? 0 : 1;
      if (random_() % 8 == 0) std::this_thread::yield();
    }
    if (random_() % 2 == 0) let_go();
    if (random_() % 4 == 0) snatch();
  }

  [[nodiscard]] const Tally& tally() const { return tally_; }

 private:
  void take(std::optional<Lease>& place) {
    const std::uint64_t size = 1 + random_() % (2 * ring_.capacity());
    const std::uint64_t head = ring_.head();
    const std::uint64_t from = head - std::min(head, size);
    const bool is_newest = random_() % 2 == 0;
    Lease lease = is_newest ? ring_.lease_newest(size) : ring_.lease(from);
    ++tally_.leases;
    tally_.empty += lease.edges().empty() ? 1 : 0;
    tally_.wrong += lease.edges().size() > (is_newest ? std::min(size, ring_.capacity()) : ring_.capacity()) ? 1 : 0;
    tally_.wrong += !is_newest && lease.first_index() < from ? 1 : 0;
    place.emplace(std::move(lease));
  }

  // Hardly more than taking and giving back, where a writer that is about to overwrite the oldest edge is met most often.
  void snatch() {
    for (int i = 0; i < 1000; ++i) {
      const Lease lease = ring_.lease();
      ++tally_.leases;
      tally_.wrong += lease.edges().size() > ring_.capacity() ? 1 : 0;
      tally_.broken += is_numbered(lease.edges().front(), lease.first_index()) ? 0 : 1;
    }
  }

  // Everything, and waits until the writer got on.
  void let_go() {
    for (auto& lease : held_) lease.reset();
    const std::uint64_t seen = ring_.head();
    for (int i = 0; i < 1000 && ring_.head() < seen + random_() % 512; ++i) std::this_thread::yield();
  }

  Ring& ring_;
  std::minstd_rand random_;
  std::array<std::optional<Lease>, 3> held_;
  Tally tally_;
};

// Takes what it has not seen yet, as long as it is there.
struct Follower {
  std::uint64_t next = 0;
  std::uint64_t seen = 0;
  std::uint64_t lost = 0;    // overwritten before it came
  std::uint64_t steps = 0;   // attempts between one edge seen and the next
  double joules = 0.0;       // the same in energy
  std::optional<Edge> last;
  Tally tally;

  void turn(Ring& ring) {
    const Lease lease = ring.lease(next);
    ++tally.leases;
    tally.broken += is_intact(lease) ? 0 : 1;
    tally.wrong += lease.first_index() < next ? 1 : 0;
    for (const Edge& edge : lease.edges()) {
      if (last) {
        steps += attempt_of(edge) - attempt_of(*last);
        joules += edge.joules - last->joules;
        tally.wrong += attempt_of(edge) > attempt_of(*last) ? 0 : 1;
      } else {
        steps = attempt_of(edge);
        joules = edge.joules;
      }
      last = edge;
    }
    lost += lease.first_index() - next;
    seen += lease.edges().size();
    next = lease.first_index() + lease.edges().size();
  }
};

void balance(std::uint32_t seed) {
  constexpr std::size_t kBrowsers = 3;
  const auto leases_before = Ring::live_leases();
  const auto ring = Ring::create(1);
  const std::uint64_t capacity = ring->capacity();
  std::array<Tally, kBrowsers> tallies;
  Follower follower;
  std::array<std::atomic<std::uint64_t>, kBrowsers + 1> turns{};
  std::atomic<bool> done{false};
  REQUIRE(ring->publish(numbered_edge(0, 0)));  // so that no lease of the newest is ever empty

  std::vector<std::thread> readers;
  for (std::size_t i = 0; i < kBrowsers; ++i) {
    readers.emplace_back([&, i] {
      Browser browser(*ring, seed * 16 + static_cast<std::uint32_t>(i));
      while (!done.load(std::memory_order_relaxed)) {
        browser.turn();
        turns[i].fetch_add(1, std::memory_order_relaxed);
      }
      tallies[i] = browser.tally();
    });
  }
  readers.emplace_back([&] {
    while (!done.load(std::memory_order_relaxed)) {
      follower.turn(*ring);
      turns.back().fetch_add(1, std::memory_order_relaxed);
      std::this_thread::yield();
    }
  });

  const auto all_had_their_turn = [&] {
    return std::all_of(turns.begin(), turns.end(), [](const auto& n) { return n.load(std::memory_order_relaxed) >= kTurnsEach; });
  };
  std::uint64_t attempts = 1;
  std::uint64_t published = 1;
  std::uint64_t dropped = 0;
  std::uint64_t last_published = 0;
  while (attempts < kMostAttempts && (published < kEnough || attempts % 1024 != 0 || !all_had_their_turn())) {
    if (ring->publish(numbered_edge(published, attempts))) {
      last_published = attempts;
      ++published;
    } else {
      ++dropped;
    }
    ++attempts;
    if (attempts % 512 == 0) std::this_thread::yield();  // the follower may catch up
  }
  done.store(true, std::memory_order_relaxed);
  for (auto& reader : readers) reader.join();
  follower.turn(*ring);  // what is left

  // The writer's side.
  CHECK(all_had_their_turn());
  CHECK(published >= kEnough);
  CHECK(dropped > 0);
  CHECK(attempts == published + dropped);
  CHECK(ring->head() == published);
  CHECK(ring->dropped() == dropped);
  // The readers'.
  for (const Tally& tally : tallies) {
    CHECK(tally.leases >= kTurnsEach);
    CHECK(tally.empty == 0);
    CHECK(tally.wrong == 0);
    CHECK(tally.broken == 0);
  }
  CHECK(follower.tally.wrong == 0);
  CHECK(follower.tally.broken == 0);
  CHECK(follower.seen > capacity);
  CHECK(follower.next == published);
  CHECK(follower.seen + follower.lost == published);
  // A dropped or lost edge costs detail and no energy.
  REQUIRE(follower.last);
  CHECK(attempt_of(*follower.last) == last_published);
  CHECK(follower.steps == last_published);
  CHECK(follower.joules == numbered_edge(0, last_published).joules);
  // Everything was given back.
  CHECK(Ring::live_leases() == leases_before);
  for (std::uint64_t i = 0; i < 2 * capacity; ++i) CHECK(ring->publish(numbered_edge(published + i, attempts + i)));
  const Lease all = ring->lease();
  CHECK(all.edges().size() == capacity);
  CHECK(is_intact(all));
}

}  // namespace

TEST_CASE("with real threads every leased edge is intact while it is leased, and at the end the ledger is even") {
  for (std::uint32_t seed = 1; seed <= rounds(); ++seed) {
    CAPTURE(seed);
    balance(seed);
  }
}

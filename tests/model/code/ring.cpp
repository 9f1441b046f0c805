// SPDX-License-Identifier: MIT
// csrc/core/ring.hpp and ring.cpp themselves, run under Relacy, a checker of C++'s memory model. Run by tests/model/check_code.
//
// Instead of threads there are fibers, each atomic is one of Relacy's, each slot one that it watches for races. It decides at
// every atomic operation who goes on, and at every load which of the stores is seen that the memory orders leave possible; a
// search goes through all of these decisions. Two things it does not try: a load that sees a store made later (compilers and
// processors may do that around relaxed operations; the writes and reads of slots are covered, as races), and orders of the
// sequentially consistent operations against what happens before what. Pins, guarded by the mutex, are left to ThreadSanitizer.
#define RL_GC  // no choices about when memory is used again
#include <relacy/relacy.hpp>
#undef new
#undef delete
#undef malloc
#undef calloc
#undef realloc
#undef free
#undef assert
#undef errno
#undef memory_order_relaxed
#undef memory_order_consume
#undef memory_order_acquire
#undef memory_order_release
#undef memory_order_acq_rel
#undef memory_order_seq_cst
#undef $

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <source_location>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace model {

// An atomic operation in the ring's code, by where it stands.
struct Operation {
  const char* file;
  unsigned line, column;
  bool is_store;
  std::memory_order order;
};
std::array<Operation, 32> operations;  // all that were met
std::size_t operation_count = 0;
std::size_t weakened = operations.size();  // the one that is one step weaker than it is written

constexpr unsigned kWriter = 0;
bool running = false;  // the threads, not what is set up before them
bool one_reader = false;

bool is_strong(std::memory_order order) { return order != std::memory_order_relaxed; }

std::memory_order weaker(const Operation& o) {
  if (o.order != std::memory_order_seq_cst) return std::memory_order_relaxed;
  return o.is_store ? std::memory_order_release : std::memory_order_acquire;
}

rl::memory_order order(std::memory_order written, bool is_store, const std::source_location& at) {
  std::size_t i = 0;
  while (i < operation_count && (operations[i].line != at.line() || operations[i].column != at.column() ||
                                 std::strcmp(operations[i].file, at.file_name()) != 0))
    ++i;
  if (i == operation_count) {
    operations.at(operation_count++) = {at.file_name(), at.line(), at.column(), is_store, written};
  }
  switch (i == weakened ? weaker(operations[i]) : written) {
    case std::memory_order_relaxed: return rl::mo_relaxed;
    case std::memory_order_consume: return rl::mo_consume;
    case std::memory_order_acquire: return rl::mo_acquire;
    case std::memory_order_release: return rl::mo_release;
    case std::memory_order_acq_rel: return rl::mo_acq_rel;
    case std::memory_order_seq_cst: return rl::mo_seq_cst;
  }
  std::abort();
}

rl::debug_info info(const std::source_location& at) { return {at.function_name(), at.file_name(), at.line()}; }

class Atomic {
 public:
  Atomic(std::uint64_t value) : atomic_(value), last_(value) {}

  std::uint64_t load(std::memory_order mo, std::source_location at = std::source_location::current()) const {
    const rl::memory_order how = order(mo, false, at);
    // What only the writer stores it finds as it left it: no other thread can make a difference.
    if (running && is_writers_ && rl::thread_index() == kWriter) return last_;
    return atomic_.load(how, info(at));
  }

  void store(std::uint64_t value, std::memory_order mo, std::source_location at = std::source_location::current()) {
    if (running) {
      const bool by_writer = rl::thread_index() == kWriter;
      if (is_stored_ && by_writer != is_writers_) std::abort();  // then load() above would be wrong
      is_stored_ = true;
      is_writers_ = by_writer;
    }
    atomic_.store(value, order(mo, true, at), info(at));
    last_ = value;
  }

 private:
  rl::atomic<std::uint64_t> atomic_;
  std::uint64_t last_;
  bool is_stored_ = false;
  bool is_writers_ = false;
};

class Mutex {
 public:
  void lock() {
    if (running && !one_reader) mutex_.lock(RL_INFO);
  }
  void unlock() {
    if (running && !one_reader) mutex_.unlock(RL_INFO);
  }

 private:
  rl::mutex mutex_;
};

}  // namespace model

// Two to four edges are a page here. Numbers that are signed are statistics of the process and not part of the protocol.
long model_sysconf(int);
namespace std {
template <class T>
using model_atomic = conditional_t<is_signed_v<T>, atomic<T>, model::Atomic>;
using model_mutex = model::Mutex;
}  // namespace std

#define sysconf model_sysconf
#define atomic model_atomic
#define mutex model_mutex
#include "core/ring.hpp"
#include "core/ring.cpp"
#undef sysconf
#undef atomic
#undef mutex

using powerprobe::Edge;
using powerprobe::Lease;
using powerprobe::Ring;

namespace {

enum class Leases { kOne, kKept, kInTurn, kNested };

struct Scenario {
  const char* name;
  std::size_t capacity;
  std::uint64_t before;    // edges published before the threads start
  std::uint64_t attempts;  // of the writer
  unsigned readers;
  Leases leases;      // of each reader
  unsigned switches;  // of threads that could go on, in all; 0: any number, which is every interleaving
  bool is_long;       // only with --full
};
// A lease of a ring of two slots or more is never empty, and a page holds more than that.
constexpr std::array kScenarios{
    Scenario{"one lease", 2, 2, 4, 1, Leases::kOne, 0, false},
    Scenario{"one lease that is kept", 2, 2, 4, 1, Leases::kKept, 0, false},
    Scenario{"one lease of a ring that is empty at first", 2, 0, 4, 1, Leases::kOne, 0, false},
    Scenario{"one lease of four slots", 4, 4, 3, 1, Leases::kOne, 0, false},
    Scenario{"two leases in turn", 2, 2, 3, 1, Leases::kInTurn, 5, false},
    Scenario{"nested leases", 2, 2, 3, 1, Leases::kNested, 5, false},
    Scenario{"two readers", 2, 2, 3, 2, Leases::kOne, 3, false},
    Scenario{"one lease of four slots, once round", 4, 4, 5, 1, Leases::kOne, 0, true},
    Scenario{"two leases in turn, every interleaving", 2, 2, 2, 1, Leases::kInTurn, 0, true},
    Scenario{"nested leases, every interleaving", 2, 2, 2, 1, Leases::kNested, 0, true},
    Scenario{"two readers, interrupted more often", 2, 2, 3, 2, Leases::kOne, 4, true},
};
constexpr rl::iteration_t kFewExecutions = 100'000;
Scenario scenario = kScenarios[0];

void check(bool holds, const char* what) {
  if (!holds) rl::ctx().fail_test(what, rl::test_result_user_assert_failed, RL_INFO);
}

template <rl::thread_id_t kReaders>
class Test : public rl::test_suite<Test<kReaders>, 1 + kReaders> {
 public:
  void before() {
    model::running = false;
    rings_before_ = Ring::live_rings();
    leases_before_ = Ring::live_leases();
    ring_ = Ring::create(scenario.capacity);
    check(ring_->capacity() == scenario.capacity, "a page is as small as this model wants it");
    for (std::uint64_t i = 0; i < scenario.before; ++i) check(publish(), "the first edges are published");
    model::running = true;
  }

  void thread(unsigned index) {
    if (index == model::kWriter) {
      for (std::uint64_t i = 0; i < scenario.attempts; ++i) publish();
      return;
    }
    std::optional<Lease> first(lease());
    if (scenario.leases == Leases::kKept) kept_.emplace(std::move(*first));
    if (scenario.leases == Leases::kInTurn) first.reset();
    if (scenario.leases == Leases::kInTurn || scenario.leases == Leases::kNested) {
      const Lease second = lease();
      if (rl::rand(2) == 0) first.reset();
    }
  }

  void after() {
    model::running = false;
    check(ring_->head() == published_, "head is what was published");
    check(ring_->dropped() == dropped_, "what was dropped is counted");
    check(published_ + dropped_ == scenario.before + scenario.attempts, "published and dropped are all");
    if (kept_ && !kept_->edges().empty()) {
      while (publish()) check(published_ <= kept_->first_index() + scenario.capacity, "a lease holds its slots");
      check(published_ == kept_->first_index() + scenario.capacity, "a lease holds no other slots than its own");
    }
    kept_.reset();
    for (std::size_t i = 0; i < scenario.capacity; ++i) check(publish(), "all pins were given back");
    read(ring_->lease());
    ring_.reset();
    check(Ring::live_rings() == rings_before_ && Ring::live_leases() == leases_before_, "nothing is left over");
  }

 private:
  bool publish() {
    const bool is_published = ring_->publish(Edge{published_});
    ++(is_published ? published_ : dropped_);
    return is_published;
  }

  Lease lease() {
    const std::uint64_t count = rl::rand(3);
    if (count == 0) {  // from an edge that may not be there yet
      const std::uint64_t from = std::max<std::uint64_t>(scenario.before, 1);
      Lease lease = ring_->lease(from);
      check(lease.edges().empty() || lease.first_index() >= from, "nothing from before what was asked for");
      read(lease);
      return lease;
    }
    Lease lease = ring_->lease_newest(count);
    check(lease.edges().size() <= count, "no more than was asked for");
    check(scenario.before == 0 || !lease.edges().empty(), "never empty where there are edges");
    read(lease);
    return lease;
  }

  static void read(const Lease& lease) {
    check(lease.edges().size() <= scenario.capacity, "no more than there can be");
    std::uint64_t number = lease.first_index();
    for (const Edge& edge : lease.edges()) check(edge.number() == number++, "each edge is the one of its index");
  }

  std::shared_ptr<Ring> ring_;
  std::int64_t rings_before_ = 0;  // an execution that failed left its own behind
  std::int64_t leases_before_ = 0;
  std::optional<Lease> kept_;
  std::uint64_t published_ = 0;  // the writer's, while threads run
  std::uint64_t dropped_ = 0;
};

struct Outcome {
  bool holds;
  rl::iteration_t executions;
  rl::string trace;
};

Outcome run(const Scenario& what) {
  scenario = what;
  model::one_reader = what.readers == 1;
  rl::ostringstream out;  // outside of the memory that is checked
  rl::test_params params;
  params.search_type = what.switches == 0 ? rl::sched_full : rl::sched_bound;
  params.context_bound = what.switches;
  params.output_stream = &out;
  params.progress_stream = &out;
  const bool holds = what.readers == 1 ? rl::simulate<Test<1>>(params) : rl::simulate<Test<2>>(params);
  return {holds, params.stop_iteration, holds ? "" : out.str()};
}

const char* name(std::memory_order order) {
  constexpr std::array kNames{"relaxed", "consume", "acquire", "release", "acq_rel", "seq_cst"};
  return kNames.at(static_cast<std::size_t>(order));
}

}  // namespace

long model_sysconf(int) { return static_cast<long>(scenario.capacity * sizeof(Edge)); }

int main(int argc, char**) {
  const bool full = argc > 1;
  int passed = 0;
  int failed = 0;
  for (const Scenario& what : kScenarios) {
    if (what.is_long && !full) continue;
    const Outcome outcome = run(what);
    std::printf("the code, %s: %s (%llu executions)\n", what.name, outcome.holds ? "holds" : "FAILS",
                static_cast<unsigned long long>(outcome.executions));
    if (!outcome.holds || outcome.executions < kFewExecutions) {
      std::fputs(outcome.holds ? "that is too few to have checked anything\n" : outcome.trace.c_str(), stderr);
      ++failed;
      break;  // what else is broken shows when this is mended
    }
    ++passed;
  }

  // Every order stronger than relaxed has to be needed: one step weaker, some execution has to break. With an order that is
  // missing in the code, or stronger than it has to be, this or the above is red.
  std::size_t strong = 0;
  for (std::size_t i = 0; failed == 0 && i < model::operation_count; ++i) {
    const model::Operation& o = model::operations[i];
    if (!model::is_strong(o.order)) continue;
    ++strong;
    model::weakened = i;
    const Outcome outcome = run(kScenarios[0]);
    model::weakened = model::operations.size();
    ++(outcome.holds ? failed : passed);
    std::printf("%s:%u: %s %s instead of %s: %s (%llu executions)\n", std::strrchr(o.file, '/') + 1, o.line,
                o.is_store ? "store" : "load", name(model::weaker(o)), name(o.order),
                outcome.holds ? "HOLDS, so nobody needs it" : "fails, as it has to",
                static_cast<unsigned long long>(outcome.executions));
  }
  if (failed == 0 && strong != 7) {
    ++failed;
    std::printf("%zu operations are stronger than relaxed, and the protocol has 7\n", strong);
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}

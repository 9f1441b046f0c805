// SPDX-License-Identifier: MIT
#include "core/runner.hpp"

#include <dlfcn.h>
#include <doctest/doctest.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/error.hpp"
#include "core/futex.hpp"
#include "core/probe.hpp"
#include "scripted.hpp"

using namespace powerprobe;
using namespace powerprobe::test;

namespace {

std::atomic<int> g_threads_left{INT_MAX};  // how many more this process may make

}  // namespace

// In front of the library's: std::thread comes here first.
extern "C" __attribute__((visibility("default"))) int pthread_create(pthread_t* thread, const pthread_attr_t* attributes,
                                                                     void* (*function)(void*), void* argument) noexcept {
  static const auto create = reinterpret_cast<decltype(&::pthread_create)>(::dlsym(RTLD_NEXT, "pthread_create"));
  if (g_threads_left.load() <= 0) return EAGAIN;
  --g_threads_left;
  return create(thread, attributes, function, argument);
}

namespace {

// Names of the threads of this process that are ours.
std::multiset<std::string> our_threads() {
  std::multiset<std::string> names;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream file(task.path() / "comm");
    std::string name;
    std::getline(file, name);
    if (name.starts_with("pp-")) names.insert(name);
  }
  return names;
}

void until(const std::function<bool()>& condition) {
  const std::int64_t deadline_ns = soon();
  while (!condition() && now_ns() < deadline_ns) ::usleep(1'000);
  REQUIRE(condition());
}

// A board that is read over a library that can hang, until the test lets it go.
struct Board {
  std::shared_ptr<Script> script = std::make_shared<Script>();
  std::shared_ptr<std::atomic<std::uint32_t>> hangs = std::make_shared<std::atomic<std::uint32_t>>(0);
  std::shared_ptr<std::atomic<int>> inside = std::make_shared<std::atomic<int>>(0);
  std::shared_ptr<std::atomic<bool>> met = std::make_shared<std::atomic<bool>>(false);  // two threads were inside at once
  std::shared_ptr<std::atomic<int>> slow_ms = std::make_shared<std::atomic<int>>(0);  // how long a reading takes
  std::shared_ptr<std::atomic<std::int64_t>> slowest_ns = std::make_shared<std::atomic<std::int64_t>>(0);
  std::shared_ptr<std::atomic<bool>> is_gone = std::make_shared<std::atomic<bool>>(false);  // the source was destroyed

  void hang() const { hangs->store(1); }
  void let_go() const {
    hangs->store(0);
    futex_wake(*hangs);
  }
  [[nodiscard]] bool is_hanging() const { return inside->load() > 0 && hangs->load() != 0; }
};

class BoardSource : public ScriptedSource {
 public:
  BoardSource(const std::string& name, const Board& board) : ScriptedSource({channel(name)}, board.script), board_(board) {
    board_.script->during_read = [board] {
      if (board.inside->fetch_add(1) != 0) board.met->store(true);
      const std::int64_t begin_ns = now_ns();
      if (board.slow_ms->load() > 0) ::usleep(static_cast<useconds_t>(board.slow_ms->load()) * 1'000);
      while (board.hangs->load() != 0) futex_wait(*board.hangs, 1, soon());
      board.slowest_ns->store(std::max(board.slowest_ns->load(), now_ns() - begin_ns));
      board.inside->fetch_sub(1);
    };
  }
  ~BoardSource() override {
    board_.script->during_read = nullptr;
    board_.is_gone->store(true);
  }
  [[nodiscard]] std::string_view thread() const noexcept override { return "boards"; }

 private:
  static ChannelInfo channel(const std::string& name) {
    ChannelInfo info = millijoules(name);
    info.source = "board";
    info.least_pause_ns = kMs / 4;
    return info;
  }
  Board board_;
};

struct Boards {
  std::vector<Board> boards;
  std::unique_ptr<Probe> probe;

  explicit Boards(std::size_t count = 3, Mode mode = Mode::kPoll) : boards(count) {
    std::vector<std::unique_ptr<Source>> sources;
    for (std::size_t i = 0; i < count; ++i) {
      sources.push_back(std::make_unique<BoardSource>("gpu-" + std::to_string(i), boards[i]));
      boards[i].script->under_load(1);
    }
    probe = std::make_unique<Probe>(std::move(sources), SamplerOptions{.mode = mode, .period_ns = kMs});
  }
  ~Boards() {
    g_threads_left = INT_MAX;
    for (const Board& board : boards) board.let_go();
    probe.reset();
    for (const Board& board : boards) until([&] { return board.is_gone->load(); });  // nothing of it is left to a later test
  }
  void hang(std::size_t i) const {
    boards[i].hang();
    until([&] { return boards[i].is_hanging(); });
  }
  // Returns when that board has been read some more times, all from the beginning.
  void until_read(std::size_t i, std::uint64_t times = 5) const {
    const std::uint64_t wanted = boards[i].script->reads_so_far() + times + 1;
    until([&] { return boards[i].script->reads_so_far() >= wanted; });
  }
  [[nodiscard]] ChannelStats stats(std::size_t i) const { return probe->channel_stats(i); }
  [[nodiscard]] std::int64_t cpu_ns(std::size_t i) const { return probe->sampler_stats(i).cpu_ns; }
  // Of the thread, and of those before it.
  [[nodiscard]] std::int64_t all_cpu_ns() const {
    std::int64_t sum = 0;
    for (std::size_t i = 0; i < boards.size(); ++i) sum += cpu_ns(i);
    return sum;
  }
};

}  // namespace

TEST_CASE("samplers of one thread name share one thread and one watcher, which end with the probe") {
  const auto before = our_threads();
  Boards bench;
  CHECK(our_threads() == before);
  bench.probe->start();
  bench.probe->ask();
  for (std::size_t i = 0; i < 3; ++i) bench.until_read(i);
  CHECK(our_threads() == std::multiset<std::string>{"pp-board", "pp-watch"});
  bench.probe->stop();
  CHECK(our_threads() == before);
  bench.probe->start();  // and again
  for (std::size_t i = 0; i < 3; ++i) bench.until_read(i);
  CHECK(our_threads() == std::multiset<std::string>{"pp-board", "pp-watch"});
}

TEST_CASE("a source with a thread of its own has no watcher") {
  std::vector<std::unique_ptr<Source>> sources;
  sources.push_back(std::make_unique<ScriptedSource>(std::vector{millijoules("package-0")}, std::make_shared<Script>()));
  sources.push_back(std::make_unique<ScriptedSource>(std::vector{millijoules("package-1")}, std::make_shared<Script>()));
  Probe probe(std::move(sources), {});
  probe.start();
  probe.ask();
  probe.wait_in_step(soon());
  CHECK(our_threads() == std::multiset<std::string>{"pp-scripted", "pp-scripted"});
}

TEST_CASE("while one board hangs the others are read, each by one thread at a time, and it goes on when the call returns") {
  Boards bench;
  bench.probe->start();
  bench.probe->ask();
  bench.until_read(0);
  bench.hang(1);
  bench.until_read(0, 300);  // longer than it takes to see that it hangs
  bench.until_read(2, 300);
  CHECK(bench.stats(1).health == ReadStatus::kRetry);
  CHECK(bench.stats(1).error == ETIMEDOUT);
  CHECK(bench.stats(0).health == ReadStatus::kOk);
  bench.boards[1].let_go();
  bench.until_read(1, 20);
  CHECK(bench.stats(1).health == ReadStatus::kOk);
  CHECK(bench.stats(1).ended_ns == INT64_MAX);
  until([] { return our_threads().size() == 2; });  // who was left behind is gone
  for (const Board& board : bench.boards) CHECK_FALSE(board.met->load());
}

TEST_CASE("two boards that hang leave two threads behind, and the third goes on") {
  Boards bench;
  bench.probe->start();
  bench.probe->ask();
  bench.until_read(0);
  bench.hang(0);
  bench.hang(2);
  bench.until_read(1, 300);
  CHECK(bench.stats(0).health == ReadStatus::kRetry);
  CHECK(bench.stats(2).health == ReadStatus::kRetry);
  bench.boards[0].let_go();
  bench.boards[2].let_go();
  bench.until_read(0);
  bench.until_read(2);
}

TEST_CASE("marks of boards that hang are given up, and those of the others are not") {
  Boards bench;
  bench.probe->start();
  bench.probe->ask();
  bench.until_read(1);
  bench.hang(1);
  const auto mark = bench.probe->mark(now_ns());
  REQUIRE(mark->wait_until(soon()));
  CHECK(mark->slots()[0].state == MarkState::kKnown);
  CHECK(mark->slots()[1].state == MarkState::kUnsettled);
  CHECK(mark->slots()[2].state == MarkState::kKnown);
}

TEST_CASE("a board that hangs for long is gone, and stays so when the call returns") {
  Boards bench;
  bench.probe->start();
  bench.probe->ask();
  bench.until_read(1);
  bench.hang(1);
  until([&] { return bench.stats(1).health == ReadStatus::kGone; });
  CHECK(bench.stats(1).error == ETIMEDOUT);
  CHECK(bench.stats(1).ended_ns < INT64_MAX);
  const auto mark = bench.probe->mark(now_ns());
  REQUIRE(mark->wait_until(soon()));
  CHECK(mark->slots()[1].state == MarkState::kGone);
  bench.boards[1].let_go();
  const std::uint64_t reads = bench.boards[1].script->reads_so_far();
  bench.until_read(0, 100);
  CHECK(bench.boards[1].script->reads_so_far() <= reads + 1);  // the one that hung
  CHECK(bench.stats(1).health == ReadStatus::kGone);
}

TEST_CASE("stop does not wait for a reading that hangs, and the source lives until it is over") {
  Boards bench;
  bench.probe->start();
  bench.probe->ask();
  bench.until_read(1);
  bench.hang(1);
  const auto mark = bench.probe->mark(now_ns() + kHour);
  bench.probe->stop();  // would wait for ever
  CHECK(bench.boards[1].is_hanging());
  CHECK(mark->is_done());
  CHECK(mark->slots()[0].state == MarkState::kUnsettled);
  bench.probe.reset();
  CHECK_FALSE(bench.boards[1].is_gone->load());
  bench.boards[1].let_go();
}

TEST_CASE("a probe that was stopped while a board hung can be started again, with the others and then with all") {
  Boards bench;
  bench.probe->start();
  bench.probe->ask();
  bench.until_read(1);
  bench.hang(1);
  bench.probe->stop();
  bench.probe->start();
  bench.until_read(0, 20);
  CHECK(bench.stats(1).health == ReadStatus::kRetry);
  bench.boards[1].let_go();
  bench.until_read(1, 20);
  CHECK(bench.stats(1).health == ReadStatus::kOk);
  until([] { return our_threads().size() == 2; });  // who was left behind does not go on as well
  bench.hang(2);  // and this is noticed as it was before
  bench.until_read(0, 300);
  CHECK(bench.stats(2).health == ReadStatus::kRetry);
}

TEST_CASE("a board that hangs when it is opened is an error, and not for ever") {
  const Board board;
  board.hang();
  std::vector<std::unique_ptr<Source>> sources;
  sources.push_back(std::make_unique<BoardSource>("gpu-0", board));
  try {
    const Probe probe(std::move(sources), {});
    FAIL("opened");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kUnavailable);
    CHECK(error.error() == ETIMEDOUT);
    CHECK(std::string(error.what()).find("gpu-0") != std::string::npos);
  }
  board.let_go();
  until([&] { return board.is_gone->load(); });
}

TEST_CASE("a board that nobody asks about and nobody watches is left in peace") {
  Boards bench(2);
  bench.probe->start();
  bench.probe->ask();
  bench.until_read(0);
  bench.probe->release();
  const auto quiet = [&] {
    const std::uint64_t reads = bench.boards[0].script->reads_so_far();
    ::usleep(20'000);
    return bench.boards[0].script->reads_so_far() == reads;
  };
  until(quiet);
  bench.probe->ask();
  bench.until_read(0);
}

TEST_CASE("what the thread used is shared out among its samplers, and adds up to what it used") {
  Boards bench;
  bench.probe->set_mode(Mode::kTrack, kMs);
  bench.probe->start();
  bench.probe->ask();
  for (std::size_t i = 0; i < 3; ++i) bench.until_read(i, 200);
  bench.probe->stop();
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(bench.probe->sampler_stats(i).cpu_ns > 0);
    sum += bench.probe->sampler_stats(i).cpu_ns;
  }
  CHECK(sum > 0);
  CHECK(bench.probe->sampler_stats(1).cpu_ns < sum);
}

TEST_CASE("in the child of a fork there is no such thread, whether or not one hangs") {
  Boards bench;
  bench.probe->start();
  bench.probe->ask();
  bench.until_read(1);
  bench.hang(1);
  const pid_t child = ::fork();
  if (child == 0) {
    bench.probe.reset();  // would wait for ever for threads that do not exist
    ::_exit(0);
  }
  int status = 1;
  ::waitpid(child, &status, 0);
  CHECK(status == 0);
}

TEST_CASE("a reading that takes its time is waited for, also by stop") {
  Boards bench;
  bench.probe->start();
  bench.probe->ask();
  bench.until_read(1);
  *bench.boards[1].slow_ms = 120;  // the watcher looks meanwhile
  bench.until_read(1, 3);
  const bool was_slow = *bench.boards[1].slowest_ns < 200 * kMs;  // else this machine was held up for as long as a board that hangs
  CHECK((bench.stats(1).retries == 0 || !was_slow));
  *bench.boards[1].slow_ms = 40;
  bench.until_read(1);
  *bench.boards[1].slowest_ns = 0;
  until([&] { return *bench.boards[1].inside > 0; });
  bench.probe->stop();
  CHECK((*bench.boards[1].inside == 0 || *bench.boards[1].slowest_ns >= 90 * kMs));
}

TEST_CASE("several on one thread are read as often as they are to be, and not more often") {
  Boards bench;
  bench.probe->start();
  const std::int64_t begin_ns = now_ns();
  bench.probe->ask();
  for (std::size_t i = 0; i < 3; ++i) bench.until_read(i, 50);
  for (std::size_t i = 0; i < 3; ++i) {
    const auto polls = static_cast<std::int64_t>(bench.probe->sampler_stats(i).polls);
    CHECK(polls <= (now_ns() - begin_ns) / kMs + 3);  // the first reading, one at once, and one a little before its time
  }
}

TEST_CASE("of several on one thread none waits for the one that waits longest") {
  Boards bench(3, Mode::kTrack);
  bench.probe->start();
  bench.probe->ask();
  bench.until_read(2);
  bench.boards[2].script->fail(0, ReadStatus::kGone, ENODEV);
  until([&] { return bench.stats(2).health == ReadStatus::kGone; });
  bench.until_read(0, 50);
  CHECK(bench.stats(0).ended_ns == INT64_MAX);
}

TEST_CASE("CPU time goes on from where it was over threads that are left behind and over stops, and each has its part") {
  Boards bench(3, Mode::kTrack);
  bench.probe->start();
  bench.probe->ask();
  until([&] { return bench.cpu_ns(1) > 2 * kMs && bench.cpu_ns(2) > 2 * kMs; });
  CHECK(bench.cpu_ns(0) > 0);
  bench.hang(1);
  std::int64_t all_ns = bench.all_cpu_ns();
  until([&] { return bench.stats(1).health == ReadStatus::kRetry; });
  CHECK(bench.all_cpu_ns() >= all_ns);
  bench.hang(2);
  all_ns = bench.all_cpu_ns();
  bench.probe->stop();
  CHECK(bench.all_cpu_ns() >= all_ns);
  bench.boards[1].let_go();
  bench.boards[2].let_go();
  const std::int64_t of_one_ns = bench.cpu_ns(1);
  bench.probe->start();
  bench.until_read(1, 20);
  CHECK(bench.cpu_ns(1) >= of_one_ns);
  CHECK(bench.cpu_ns(0) > 0);
}

TEST_CASE("power readings that are watched are looked at in each of their periods, however long it is since the beginning") {
  for (const auto& [first_ns, second_ns] : {std::pair{20 * kMs, kHour}, {kHour, 20 * kMs}}) {
    const Board board;
    board.script->readings.resize(2);
    std::vector<ChannelInfo> channels(2, millijoules("gpu-0"));
    for (ChannelInfo& channel : channels) channel.provenance = Provenance::kIntegrated;
    channels[0].update_period_ns = first_ns;
    channels[1].update_period_ns = second_ns;
    Sampler sampler(std::make_unique<ScriptedSource>(channels, board.script), 0, {});
    sampler.start();
    sampler.watch(now_ns() - kHour);
    sampler.ask_until(now_ns() + kMs);  // so that it notices
    const std::uint64_t wanted = board.script->reads_so_far() + 30;
    until([&] { return board.script->reads_so_far() >= wanted; });
    sampler.unwatch();
    sampler.stop();
  }
}

TEST_CASE("where no thread can be had start says so, leaves none behind, and may be tried again") {
  const auto before = our_threads();
  Boards bench;
  for (const bool was_started : {false, true}) {
    for (const int threads : {0, 1}) {  // none at all, or none that watches
      g_threads_left = threads;
      try {
        bench.probe->start();
        FAIL("started");
      } catch (const Error& error) {
        CHECK(error.kind() == ErrorKind::kUnavailable);
        CHECK(error.error() == EAGAIN);
      }
      CHECK(our_threads() == before);
      g_threads_left = INT_MAX;
    }
    if (was_started) break;
    bench.probe->start();
    bench.probe->stop();
  }
  bench.probe->start();
  bench.probe->ask();
  bench.until_read(0);
}

TEST_CASE("where no thread can be had to open a board, that is the error") {
  g_threads_left = 0;
  try {
    const Boards bench(1);
    FAIL("opened");
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::kUnavailable);
    CHECK(error.error() == EAGAIN);
    CHECK_FALSE(error.remedy().empty());
  }
  g_threads_left = INT_MAX;
}

TEST_CASE("where no thread can be had for one that was left behind, it is as after a stop") {
  const auto before = our_threads();
  Boards bench;
  bench.probe->start();
  bench.probe->ask();
  bench.until_read(0);
  const auto mark = bench.probe->mark(now_ns() + kHour);
  g_threads_left = 0;
  bench.hang(1);
  REQUIRE(mark->wait_until(soon()));
  CHECK(mark->slots()[0].state == MarkState::kUnsettled);
  CHECK(bench.probe->mark(now_ns() + kHour)->is_done());
  g_threads_left = INT_MAX;
  SUBCASE("it can be started again") {
    bench.probe->start();
    bench.until_read(0, 20);
  }
  SUBCASE("it can be stopped") {
    bench.probe->stop();
    bench.boards[1].let_go();
    until([&] { return our_threads() == before; });
  }
  SUBCASE("it can be destroyed") { bench.probe.reset(); }
}

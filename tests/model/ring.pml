// SPDX-License-Identifier: MIT
// A model of the lease protocol at the top of csrc/core/ring.hpp: one writer, two readers, every interleaving, on a machine
// whose stores linger in a buffer before others see them (total store order, as on x86). Run by tests/model/check.
//
// What is checked, in every state that can be reached:
//   kept        no slot of a live lease is overwritten, and a new lease holds only edges that were published
//   free        the writer never waits: readers may stop for ever at any point, and it still comes to its end
//   consistent  head <= claim <= head + 1, a lease is never empty when there are edges, published + dropped == attempts
//
// Each of these macros breaks the protocol in one place, and then the check has to fail:
//   RELAXED_CLAIM  the writer's claim may linger in its buffer   RELAXED_PIN  the reader's pin may
//   NO_LOOK        the reader does not look at claim_            WAIT_FOR_PIN the writer waits instead of dropping
//   EARLY_HEAD     publish: the new head is seen before the edge
//   LATE_READ      give-back: the pin is seen to be gone before the reader is done
//
// Stores here are seen in the order in which they were made. That the code asks for that order also where the processor does
// not keep it by itself is checked on the code, by tests/model/check_code.

#define CAPACITY 2
#ifndef ATTEMPTS  // of the writer, in all
#define ATTEMPTS 4
#endif
#ifndef LEASES  // of each reader, one after the other
#define LEASES 1
#endif
#define NO_PIN 255

// Memory that threads share, and the store buffer of each thread.
#define HEAD 0
#define CLAIM 1
#define PIN 2
#define MUTEX 3
#define SLOTS 4
byte memory[6];
chan buffer[3] = [4] of {byte, byte};
#define WRITER 2

#define store(who, where, what) buffer[who] ! where, what
#define fence(who) empty(buffer[who])

// Guarded by the mutex; its stores cannot be seen before the unlock, which goes through the same buffer.
byte pins[2] = NO_PIN;
// What the readers believe. For the checks only.
bool live[2];
byte first[2];
byte end[2];

inline lowest_pin() {
  lowest = pins[0];
  if
  :: pins[1] < lowest -> lowest = pins[1]
  :: else
  fi
}

// Lets stores reach the memory, one at a time, each buffer in order, at any moment.
active proctype drain() {
  byte where, what, r;
  end_drained:
  do
  :: atomic {
       if
       :: buffer[0] ? where, what
       :: buffer[1] ? where, what
       :: buffer[WRITER] ? where, what
       fi;
       if
       :: where >= SLOTS ->
            for (r : 0 .. 1) {
              // The slot held the edge one capacity ago.
              assert(!live[r] || what < CAPACITY || what - CAPACITY < first[r] || what - CAPACITY >= end[r])  // kept
            }
       :: else
       fi;
       memory[where] = what;
       assert(memory[HEAD] <= memory[CLAIM] && memory[CLAIM] <= memory[HEAD] + 1);  // consistent
       where = 0; what = 0; r = 0
     }
  od
}

active proctype writer() {
  byte head, attempts, dropped, pin;
  do
  :: attempts < ATTEMPTS ->
       attempts++;
       store(WRITER, CLAIM, head + 1);
#ifndef RELAXED_CLAIM
       fence(WRITER);
#endif
       pin = memory[PIN];
       if
       :: head >= CAPACITY && head - CAPACITY >= pin ->
#ifdef WAIT_FOR_PIN
            head - CAPACITY < memory[PIN];
#endif
            store(WRITER, CLAIM, head);
            dropped++
       :: else ->
#ifdef EARLY_HEAD
            store(WRITER, HEAD, head + 1);
            store(WRITER, SLOTS + head % CAPACITY, head);
#else
            store(WRITER, SLOTS + head % CAPACITY, head);
            store(WRITER, HEAD, head + 1);
#endif
            head++
       fi
  :: else -> break
  od;
  fence(WRITER);
  assert(memory[HEAD] == head && head + dropped == ATTEMPTS)  // consistent
}

proctype reader(byte me) {
  byte leases, count, head, pinned, claim, safe, lowest, i;
  do
  :: leases < LEASES ->
       leases++;
       if
       :: count = 1
       :: count = CAPACITY
       fi;

       end_locked_out:
       atomic { memory[MUTEX] == 0 && fence(me) -> memory[MUTEX] = 1 };
       head = memory[HEAD];
       if
       :: head == 0 -> store(me, MUTEX, 0)  // nothing to pin
       :: else ->
            atomic {
              pinned = head - (head < count -> head : count);
              pins[me] = pinned;
              lowest_pin();
              store(me, PIN, lowest)
            };
#ifndef RELAXED_PIN
            fence(me);
#endif
            claim = memory[CLAIM];
            atomic {
              head = memory[HEAD];
#ifdef NO_LOOK
              claim = 0;
#endif
              safe = (claim > CAPACITY -> claim - CAPACITY : 0);
              first[me] = head - (head < count -> head : count);
              first[me] = (pinned > first[me] -> pinned : first[me]);
              first[me] = (safe > first[me] -> safe : first[me]);
              end[me] = head;
              assert(first[me] < end[me]);  // consistent
              i = first[me];
              do
              :: i < end[me] -> assert(memory[SLOTS + i % CAPACITY] == i); i++  // kept
              :: else -> break
              od;
              i = 0;
              live[me] = true
            };
            atomic {
              if
              :: first[me] != pinned ->
                   pins[me] = first[me];
                   lowest_pin();
                   store(me, PIN, lowest)
              :: else
              fi
            };
            store(me, MUTEX, 0);

            if
            :: skip
            :: goto end_stopped  // holds its lease for ever
            fi;

#ifndef LATE_READ
            live[me] = false;
#endif
            atomic { memory[MUTEX] == 0 && fence(me) -> memory[MUTEX] = 1 };
            atomic {
              pins[me] = NO_PIN;
              lowest_pin();
              store(me, PIN, lowest)
            };
            store(me, MUTEX, 0);
            live[me] = false;
            atomic { first[me] = 0; end[me] = 0 }
       fi;
       atomic { head = 0; pinned = 0; claim = 0; safe = 0; lowest = 0 }
  :: else -> break
  od;
  end_stopped: skip
}

init {
  atomic {
    memory[PIN] = NO_PIN;
    run reader(0);
    run reader(1)
  }
}
